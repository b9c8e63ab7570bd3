#!/usr/bin/env python3
"""Makes the golden fixtures: tiny random checkpoints and what transformers computes from them.

    make.py                     every fixture
    make.py llama tokenizer     only these
    make.py --find-seed llama   the first seed, from the table's own upwards, that fits a family

Needs torch, transformers, safetensors and tokenizers (the README names the versions). No network,
no accelerator, a few seconds per fixture. Same versions and same machine type: same bytes.

Every fixture is computed from the files that get committed: the checkpoint is saved in its stored
precision, loaded again by transformers in float32, and only then asked for logits. So an engine which
reads the same files has nothing to round differently, and a loader's mistake cannot hide in a tolerance.

The families are in families/, the tokenizer in tokenizer_fixture.py, templates in templates_fixture.py. checkpoint.py writes and reads what a hub
repository would hold, with the layouts of layouts.py and the weights of fewer bits of quantised.py.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

# Before transformers is imported: nothing here may be looked up on a network.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from checkpoint import check_checkpoint, eos_ids, load, save_checkpoint, weights_of
from checks import Unsuitable, check_size, require
from families import FAMILIES
from families.table import Family, Routing
from safetensors.torch import save_file
from templates_fixture import make_templates
from tokenizer_fixture import make_tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

GOLDEN = Path(__file__).parent

# 70 tokens and 32 more cross every chunk budget (5, 16, 64) and block size (4, 16, 64) the engine's
# tests use; 1 is the shortest legal prompt; 7 and 33 end inside a block.
PROMPT_TOKENS = (1, 7, 33, 70)
GREEDY_TOKENS = 32

# What an engine's logits may differ by, times max(1, |logit|). The engine's tests use the same.
TOLERANCE = 2e-4
# What transformers' own rounding in float32 may take of it.
ROUNDING_MAX = TOLERANCE / 5
# Far above the tolerance, so that an engine within it makes the same choices.
GREEDY_MARGIN_MIN = 2e-3
ROUTER_MARGIN_MIN = 1e-3
# What a config field must move some logit by before we say that the fixture tests the field.
ABLATION_MIN = 2e-2
# A continuation that repeats two tokens would not notice a broken cache.
GREEDY_DISTINCT_MIN = 8
FOLDER_BYTES_MAX = 400_000
SEEDS_TRIED_MAX = 200

# --- Reference ---------------------------------------------------------------------------------------


@torch.no_grad()
def logits_of(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    # No cache: the reference is the plain definition, one whole forward pass for each token.
    return model(tokens[None], use_cache=False).logits[0]


def draw_prompts(family: Family, vocab_size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(family.seed)
    # Ids 0 to 3 are special in some family.
    return [torch.randint(4, vocab_size, (tokens,), generator=generator) for tokens in PROMPT_TOKENS]


def greedy_continuation(model: PreTrainedModel, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """The next GREEDY_TOKENS tokens and by how much each won."""
    tokens, margins = prompt, []
    for _ in range(GREEDY_TOKENS):
        (best, second), ranked = logits_of(model, tokens)[-1].topk(2)
        margins.append(best - second)
        tokens = torch.cat([tokens, ranked[:1]])
    return tokens[len(prompt) :], torch.stack(margins)


def routing(family: Family, model: PreTrainedModel, tokens: Tensor) -> dict[int, Routing]:
    """By layer, what its router did."""
    seen: dict[int, Routing] = {}
    hooks = []
    for name, module in model.named_modules():
        if match := re.fullmatch(family.router, name):
            layer = int(match[1])

            def record(module: nn.Module, inputs: tuple, output: tuple, layer: int = layer) -> None:
                seen[layer] = family.read_router(module, inputs, output)

            hooks.append(module.register_forward_hook(record))
    logits_of(model, tokens)
    for hook in hooks:
        hook.remove()
    require(len(seen) == len(hooks) > 0, "the router pattern matches no module that ran")
    return seen


def reference(family: Family, model: PreTrainedModel) -> dict[str, Tensor]:
    ref: dict[str, Tensor] = {}
    for i, prompt in enumerate(draw_prompts(family, model.config.get_text_config().vocab_size)):
        greedy, margin = greedy_continuation(model, prompt)
        require(margin.min() > GREEDY_MARGIN_MIN, f"prompt {i}: greedy margin {margin.min():.1e}")
        require(len(greedy.unique()) >= GREEDY_DISTINCT_MIN, f"prompt {i}: {len(greedy.unique())} distinct tokens")
        require(not set(greedy.tolist()) & set(eos_ids(model)), f"prompt {i}: an end token is produced")
        ref |= {
            f"prompt.{i}": prompt,
            f"logits.{i}": logits_of(model, prompt),
            f"greedy.{i}": greedy,
            f"greedy_margin.{i}": margin,
        }
        if family.router:
            # The continuation is routed too, but only the prompt's part is stored.
            for layer, seen in routing(family, model, torch.cat([prompt, greedy])).items():
                require(seen.margin > ROUTER_MARGIN_MIN, f"prompt {i} layer {layer}: router margin {seen.margin:.1e}")
                ref[f"router.{layer}.{i}"] = seen.chosen[: len(prompt)].sort(dim=-1).values.contiguous()
    return ref


def check_ablations(family: Family, folder: Path, ref: dict[str, Tensor]) -> None:
    """Each of these fields and weights, read wrongly, must be seen in the logits of the longest prompt."""
    longest = len(PROMPT_TOKENS) - 1

    def check(what: object, model: PreTrainedModel) -> None:
        moved = logits_of(model, ref[f"prompt.{longest}"]) - ref[f"logits.{longest}"]
        require(moved.abs().max() > ABLATION_MIN, f"{what} moves the logits by {moved.abs().max():.1e} only")

    for ablation in family.ablations:
        check(ablation, load(family, folder, ablation))
    for part in family.quantised.scales() if family.quantised else []:
        check(f"a wrong {part}", load(family, folder, spoilt=part))
    for pattern, change in family.weight_ablations:
        model = load(family, folder)
        matching = [weight for name, weight in weights_of(model).items() if re.search(pattern, name)]
        require(bool(matching), f"{pattern} matches no weight")
        for weight in matching:
            weight.data = change(weight.data)
        check(f"{change.__name__} of {pattern}", model)


def check_conditioning(model: PreTrainedModel, ref: dict[str, Tensor]) -> None:
    """Rounding stays far below the tolerance: what exceeds the tolerance is a mistake. Leaves the model in float64."""
    model.double()
    for i in range(len(PROMPT_TOKENS)):
        exact = logits_of(model, ref[f"prompt.{i}"])
        rounding = ((ref[f"logits.{i}"] - exact).abs() / exact.abs().clamp(min=1)).max()
        require(rounding < ROUNDING_MAX, f"prompt {i}: float32 and float64 differ by {rounding:.1e}")


def make_family(family: Family, folder: Path) -> None:
    save_checkpoint(family, folder)
    check_checkpoint(family, folder)
    model = load(family, folder)
    ref = reference(family, model)
    check_ablations(family, folder, ref)
    check_conditioning(model, ref)
    save_file(ref, folder / "ref.safetensors")
    check_size(folder, FOLDER_BYTES_MAX)


def find_seed(family: Family) -> int:
    for seed in range(family.seed, family.seed + SEEDS_TRIED_MAX):
        with tempfile.TemporaryDirectory() as folder:
            try:
                make_family(replace(family, seed=seed), Path(folder))
                return seed
            except Unsuitable as reason:
                print(f"{family.name} seed {seed}: {reason}", file=sys.stderr)
    raise Unsuitable(f"{family.name}: none of {SEEDS_TRIED_MAX} seeds fits")


# --- Command line ------------------------------------------------------------------------------------


# What is not made of a model.
TEXTS = {"tokenizer": make_tokenizer, "templates": make_templates}


def make(name: str) -> None:
    """Makes one fixture aside and puts it in place only when it is whole and has passed its checks."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        family = next((family for family in FAMILIES if family.name == name), None)
        make_family(family, folder) if family else TEXTS[name](folder)
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        # Contents only: files get the modes of where they go, not those of a scratch folder.
        shutil.copytree(folder, GOLDEN / name, copy_function=shutil.copyfile)
    sizes = sorted((path.name, path.stat().st_size) for path in (GOLDEN / name).iterdir())
    print(f"{name}: {sum(size for _, size in sizes)} bytes in {len(sizes)} files")


def main() -> None:
    names = [family.name for family in FAMILIES] + list(TEXTS)
    parser = argparse.ArgumentParser(description="Makes the golden fixtures.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="one of: " + ", ".join(names))
    parser.add_argument("--find-seed", action="store_true", help="print a seed that fits each family; write nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no such fixture: {', '.join(sorted(unknown))}")

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    # Sums in one order, whatever the machine has of cores.
    torch.set_num_threads(1)

    for name in arguments.names or names:
        if not arguments.find_seed:
            make(name)
        elif name not in TEXTS:
            print(name, find_seed(next(family for family in FAMILIES if family.name == name)))


if __name__ == "__main__":
    main()
