#!/usr/bin/env python3
"""Makes the encoder fixtures: tiny random checkpoints, and what transformers computes from them.

    make.py                   every fixture
    make.py bert_mean         only this one

Needs torch, transformers, safetensors and tokenizers (the README names the versions). No network, no accelerator,
a few seconds per fixture. Same versions and same machine type: same bytes.

Every reference is computed from the files that get committed: the checkpoint is saved in its stored precision, loaded
again by transformers in float32, and each text goes through it alone and without padding. Pooling, dense layer and
normalisation are those of sentence-transformers, written out here in a few lines.
"""

import argparse
import copy
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

# Before transformers is imported: nothing here may be looked up on a network.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from checks import require, write_json
from models import ENCODERS, INITIAL, Encoder
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForSequenceClassification, PreTrainedModel

HERE = Path(__file__).parent
FOLDER_BYTES_MAX = 200_000
# What an engine's values may differ by; its tests use the same.
TOLERANCE = 2e-5
# What transformers' own rounding in float32 may take of it.
ROUNDING_MAX = TOLERANCE / 4
# What a config field must move some value by before we say that the fixture tests it: the two forms of GELU are
# 5e-4 apart at most.
ABLATION_MIN = 5 * TOLERANCE

TEXTS = (
    "gate",
    "The gate is shut until the guard has read the letter.",
    "What is the capital of France? The capital of France is Paris!",
    "RAIN today, and no rain tomorrow; why?",
    "Le château est fermé: 😀 12345",
    "  a portcullis  is\ta gate of iron bars ",
)


def is_classifier(encoder: Encoder) -> bool:
    return encoder.architecture.endswith("ForSequenceClassification")


def auto_class(encoder: Encoder) -> type:
    return AutoModelForSequenceClassification if is_classifier(encoder) else AutoModel


def save_checkpoint(encoder: Encoder, folder: Path) -> None:
    """Writes tokenizer, config.json and the weights as a hub repository would hold them."""
    given = encoder.config | {"vocab_size": encoder.tokenizer(folder)}
    # A copy: from_dict writes into the dictionaries that it is given.
    config = CONFIG_MAPPING[given["model_type"]].from_dict(copy.deepcopy(given))
    model = auto_class(encoder).from_config(config, dtype=torch.float32, attn_implementation="eager")
    generator = torch.Generator().manual_seed(encoder.seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            change = next(change for pattern, change in INITIAL if re.search(pattern, name))
            weight.copy_(change(torch.randn(weight.shape, generator=generator)))
            weight.data = weight.data.to(encoder.dtype)
    model.save_pretrained(folder)
    if encoder.spelling == "as_given":
        names = {
            "architectures": [encoder.architecture],
            "torch_dtype": str(encoder.dtype).removeprefix("torch."),
            "transformers_version": "4.51.0",
        }
        write_json(folder / "config.json", dict(sorted((given | names).items())))
    fields = json.loads((folder / "config.json").read_text())
    require(fields["architectures"] == [encoder.architecture], "config.json names another architecture")


def save_sentence_files(encoder: Encoder, folder: Path, width: int) -> None:
    """Writes what sentence-transformers writes beside a model."""
    if encoder.pooling is None:
        return
    modules = ["Transformer", "Pooling", *["Dense"] * bool(encoder.dense), *["Normalize"] * encoder.normalize]
    entries = []
    for place, kind in enumerate(modules):
        path = "" if kind == "Transformer" else f"{place}_{kind}"
        entries.append({"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"})
    write_json(folder / "modules.json", entries)
    (folder / "1_Pooling").mkdir()
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    if len(encoder.pooling) > 1:
        pooling = {"embedding_dimension": width, "pooling_mode": encoder.pooling, "include_prompt": True}
    else:
        pooling = {"word_embedding_dimension": width, "include_prompt": True}
        pooling |= {f"pooling_mode_{mode}": mode.removesuffix("_tokens").removesuffix("_token") in encoder.pooling for mode in modes}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    if encoder.dense:
        settings = {"in_features": width, "out_features": encoder.dense, "bias": True}
        settings["activation_function"] = "torch.nn.modules.activation.Tanh"
        (folder / "2_Dense").mkdir()
        write_json(folder / "2_Dense" / "config.json", settings)
        generator = torch.Generator().manual_seed(encoder.seed)
        weight = torch.randn(encoder.dense, width, generator=generator) / width**0.5
        bias = 0.1 * torch.randn(encoder.dense, generator=generator)
        save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    for name, content in encoder.sentence_files.items():
        write_json(folder / name, content)


def load(encoder: Encoder, folder: Path, ablation: dict | None = None) -> PreTrainedModel:
    """The committed files in float32, with some config fields replaced."""
    fields = json.loads((folder / "config.json").read_text()) | (ablation or {})
    model, report = auto_class(encoder).from_pretrained(
        folder,
        config=CONFIG_MAPPING[fields["model_type"]].from_dict(copy.deepcopy(fields)) if ablation else None,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
    )
    if ablation:
        report.pop("unexpected_keys")
    require(not any(report.values()), f"names that transformers does not expect, or misses: {report}")
    return model.eval()


def pooled(encoder: Encoder, hidden: Tensor) -> Tensor:
    """One vector of the vectors [T, H] of a text's tokens."""
    weights = torch.arange(1, len(hidden) + 1, dtype=hidden.dtype)[:, None]
    by_mode = {
        "cls": hidden[0],
        "max": hidden.max(dim=0).values,
        "mean": hidden.mean(dim=0),
        "mean_sqrt_len_tokens": hidden.sum(dim=0) / len(hidden) ** 0.5,
        "weightedmean": (hidden * weights).sum(dim=0) / weights.sum(),
        "lasttoken": hidden[-1],
    }
    return torch.cat([by_mode[mode] for mode in encoder.pooling or ("mean",)])


@torch.no_grad()
def value_of(encoder: Encoder, folder: Path, model: PreTrainedModel, ids: Tensor) -> Tensor:
    """A text's embedding, or its labels' probabilities."""
    output = model(ids[None])
    if is_classifier(encoder):
        logits = output.logits[0]
        several = encoder.config.get("problem_type") == "multi_label_classification"
        return logits.sigmoid() if several else logits.softmax(dim=-1)
    vector = pooled(encoder, output.last_hidden_state[0])
    if encoder.dense:
        dense = load_file(folder / "2_Dense" / "model.safetensors")
        weight, bias = dense["linear.weight"].to(vector.dtype), dense["linear.bias"].to(vector.dtype)
        vector = (weight @ vector + bias).tanh()
    return nn.functional.normalize(vector, dim=0) if encoder.normalize else vector


def texts_of(encoder: Encoder, tokenizer: Tokenizer) -> list[str]:
    """The table's texts, and one that has exactly the tokens that the row asks for."""
    words = " ".join(TEXTS[1:4]).split()
    longest = ""
    for place in range(10_000):
        longer = f"{longest} {words[place * 7 % len(words)]}".strip()
        if len(tokenizer.encode(longer).ids) > encoder.longest:
            break
        longest = longer
    while len(tokenizer.encode(longest).ids) < encoder.longest:
        longest += " ,"[len(longest) % 2]
    require(len(tokenizer.encode(longest).ids) == encoder.longest, "no text has the length asked for")
    return [*TEXTS, longest]


def reference(encoder: Encoder, folder: Path, model: PreTrainedModel) -> tuple[dict[str, Tensor], list[str]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    settings = encoder.sentence_files.get("config_sentence_transformers.json", {})
    prompt = settings.get("prompts", {}).get(settings.get("default_prompt_name"), "")
    lower = any(content.get("do_lower_case") for content in encoder.sentence_files.values())
    texts, ref = texts_of(encoder, tokenizer), {}

    def encode(text: str) -> Tensor:
        whole = prompt + text
        return torch.tensor(tokenizer.encode(whole.lower() if lower else whole).ids)

    for place, text in enumerate(texts):
        ids = encode(text)
        ref |= {f"ids.{place}": ids, f"value.{place}": value_of(encoder, folder, model, ids)}
    # The last text cut to 12 tokens, its special ones among them.
    tokenizer.enable_truncation(max_length=12)
    cut = encode(texts[-1])
    return ref | {"cut.ids": cut, "cut.value": value_of(encoder, folder, model, cut)}, texts


def check(encoder: Encoder, folder: Path, model: PreTrainedModel, ref: dict[str, Tensor]) -> None:
    """The fixture tests what it is for, and rounding cannot be mistaken for a mistake."""
    texts = sum(name.startswith("ids.") for name in ref)
    values = [ref[f"value.{place}"] for place in range(texts)]
    for ablation in encoder.ablations:
        other = load(encoder, folder, ablation)
        moved = (value_of(encoder, folder, other, ref[f"ids.{texts - 1}"]) - values[-1]).abs().max()
        require(moved > ABLATION_MIN, f"{ablation} moves the values by {moved:.1e} only")
    double = copy.deepcopy(model).double()
    rounding = max(
        (value_of(encoder, folder, double, ref[f"ids.{place}"]) - value).abs().max().item()
        for place, value in enumerate(values)
    )
    require(rounding < ROUNDING_MAX, f"float32 and float64 differ by {rounding:.1e}")


def make(encoder: Encoder) -> None:
    """Makes one fixture aside and puts it in place only when it is whole and has passed its checks."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / encoder.name
        folder.mkdir()
        save_checkpoint(encoder, folder)
        model = load(encoder, folder)
        save_sentence_files(encoder, folder, model.config.hidden_size)
        ref, texts = reference(encoder, folder, model)
        check(encoder, folder, model, ref)
        save_file(ref, folder / "ref.safetensors")
        write_json(folder / "ref.json", {"texts": texts})
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        require(size <= FOLDER_BYTES_MAX, f"{size} bytes, more than {FOLDER_BYTES_MAX}")
        shutil.rmtree(HERE / encoder.name, ignore_errors=True)
        shutil.copytree(folder, HERE / encoder.name, copy_function=shutil.copyfile)
    print(f"{encoder.name}: {size} bytes, longest text {len(ref[f'ids.{len(texts) - 1}'])} tokens")


def main() -> None:
    known = {encoder.name: encoder for encoder in ENCODERS}
    parser = argparse.ArgumentParser(description="Makes the encoder fixtures.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="one of: " + ", ".join(known))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - known.keys():
        parser.error(f"no such fixture: {', '.join(sorted(unknown))}")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    # Sums in one order, whatever the machine has of cores.
    torch.set_num_threads(1)
    for name in arguments.names or known:
        make(known[name])


if __name__ == "__main__":
    main()
