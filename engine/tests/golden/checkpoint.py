"""Writes a random checkpoint as a hub repository would hold it, and reads it as transformers does."""

import copy
import json
import re
import tempfile
from pathlib import Path

import torch
from checks import require, write_json
from families.table import INITIAL, STORED_FLOAT32, Family
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

# --- Models ------------------------------------------------------------------------------------------


def eos_ids(model: PreTrainedModel) -> list[int]:
    named = [getattr(config, "eos_token_id", None) for config in (model.config, model.config.get_text_config())]
    return [eos for ids in named for eos in ([] if ids is None else [ids] if isinstance(ids, int) else ids)]


def weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """The parameters, and the buffers that a checkpoint holds like them (a router's correction bias)."""
    saved = model.state_dict().keys()
    return dict(model.named_parameters()) | {name: buffer for name, buffer in model.named_buffers() if name in saved}


def loader(family: Family) -> type:
    # What reads images too has a text model inside, of which alone the fixtures speak. transformers counts
    # Mistral 4 among them.
    fields = family.config | family.reference_config
    causal = family.architecture.endswith("ForCausalLM") and fields["model_type"] != "mistral4"
    return AutoModelForCausalLM if causal else AutoModelForImageTextToText


def with_text_fields(fields: dict, changed: dict) -> dict:
    """A config with some fields of its text model replaced."""
    return fields | ({"text_config": fields["text_config"] | changed} if "text_config" in fields else changed)


def unquantised_dtype(family: Family, name: str) -> torch.dtype:
    return torch.float32 if re.search(STORED_FLOAT32, name) else family.dtype


def randomise(family: Family, model: PreTrainedModel) -> None:
    generator = torch.Generator().manual_seed(family.seed)
    with torch.no_grad():
        for name, weight in sorted(weights_of(model).items()):
            draw = torch.randn(weight.shape, generator=generator)
            change = next(change for pattern, change in family.initial + INITIAL if re.search(pattern, name))
            weight.copy_(change(draw))
        # A logit of zero never wins, so that no continuation ends early.
        model.get_output_embeddings().weight[eos_ids(model)] = 0.0


# --- Files -------------------------------------------------------------------------------------------


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        stored |= load_file(path)
    return stored


def rewrite_weights(family: Family, folder: Path) -> None:
    """From transformers' layout and precision to the hub's: each file and the index of them."""
    files: dict[str, str] = {}
    bytes_total = 0
    for path in sorted(folder.glob("*.safetensors")):
        stored = load_file(path)
        if family.layout:
            stored = family.layout.write(stored)
        if family.quantised:
            stored = family.quantised.quantise(stored)
        save_file(stored, path, metadata={"format": "pt"})
        files |= dict.fromkeys(stored, path.name)
        bytes_total += sum(tensor.nbytes for tensor in stored.values())
    if (index := folder / "model.safetensors.index.json").exists():
        metadata = json.loads(index.read_text())["metadata"] | {"total_size": bytes_total}
        write_json(index, {"metadata": metadata, "weight_map": files}, sort_keys=True)


def write_config(family: Family, folder: Path) -> None:
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    if family.params:
        path.unlink()
        (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
        write_json(folder / "params.json", family.params, sort_keys=True)
        return
    if family.spelling == "as_given":
        fields = family.config | {
            "architectures": [family.architecture],
            "torch_dtype": str(family.dtype).removeprefix("torch."),
            "transformers_version": "4.51.0",
        }
    if family.quantised:
        fields["quantization_config"] = family.quantised.config
    write_json(path, fields, sort_keys=True)


def save_checkpoint(family: Family, folder: Path) -> None:
    """Writes config.json and the weights as a hub repository would hold them."""
    # A copy: from_dict writes into the dictionaries it is given (rope_theta into rope_scaling).
    fields = copy.deepcopy(with_text_fields(family.config, family.reference_config))
    config = CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    model = loader(family).from_config(config, dtype=torch.float32, attn_implementation="eager")
    randomise(family, model)
    for name, weight in weights_of(model).items():
        weight.data = weight.data.to(unquantised_dtype(family, name))
    model.save_pretrained(folder, max_shard_size=family.shard or "1GB")
    (folder / "generation_config.json").unlink()
    if family.layout or family.quantised:
        rewrite_weights(family, folder)
    write_config(family, folder)


def check_checkpoint(family: Family, folder: Path) -> None:
    """Names, precision and config.json are what the row of the table asks for."""
    stored = stored_tensors(folder)
    missing = set(family.tensors) - stored.keys()
    require(not missing, f"not in the hub's layout: {missing} missing")
    for name, tensor in stored.items():
        quantised = family.quantised.dtype(name) if family.quantised else None
        wanted = quantised or unquantised_dtype(family, name)
        require(tensor.dtype == wanted, f"{name} is stored in {tensor.dtype}, not {wanted}")
    # Only Gemma leaves it out.
    tied = family.config.get("tie_word_embeddings", True)
    head = any(name.endswith(("lm_head.weight", "output.weight")) for name in stored)
    require(head != tied, "the head is stored though tied, or missing though untied")
    if family.params is None:
        fields = json.loads((folder / "config.json").read_text())
        require(fields["architectures"] == [family.architecture], "config.json names another architecture")


# --- Loading -----------------------------------------------------------------------------------------


def as_transformers_stores(family: Family, folder: Path, spoilt: str | None) -> dict[str, Tensor]:
    """The weights of a folder undone of what rewrite_weights did, with wrong scales if a part is `spoilt`."""
    stored = stored_tensors(folder)
    for name, part in stored.items():
        if spoilt and name.endswith(spoilt):
            # Those of the neighbours, if there are any.
            stored[name] = part.flatten().roll(1).view_as(part) if part.numel() > 1 else part * 2
    if family.quantised:
        stored = family.quantised.dequantise(stored)
    return family.layout.read(stored) if family.layout and family.layout.read else stored


def load(family: Family, folder: Path, ablation: dict | None = None, spoilt: str | None = None) -> PreTrainedModel:
    """The committed files in float32, with some config fields replaced, or one part of quantised weights spoilt."""
    fields = dict(family.config) if family.params else json.loads((folder / "config.json").read_text())
    fields.pop("quantization_config", None)
    changed = family.reference_config | (ablation or {})
    fields = copy.deepcopy(with_text_fields(fields, changed))
    with tempfile.TemporaryDirectory() as scratch:
        if family.quantised or (family.layout and family.layout.read):
            weights = as_transformers_stores(family, folder, spoilt)
            folder = Path(scratch)
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
            write_json(folder / "config.json", fields)
        model, report = loader(family).from_pretrained(
            folder,
            # Where it can, transformers reads config.json for itself.
            config=CONFIG_MAPPING[fields["model_type"]].from_dict(fields) if changed else None,
            dtype=torch.float32,
            attn_implementation="eager",
            experts_implementation="eager",
            output_loading_info=True,
        )
    if ablation:
        # A field may be what makes a model read some weights (a bias, a norm). It must not lack any.
        report.pop("unexpected_keys")
    require(not any(report.values()), f"names that transformers does not expect, or misses: {report}")
    return model.eval()
