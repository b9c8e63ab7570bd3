"""What a row of the table of families is, and what rows have in common."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from layouts import Layout
from quantised import Quantised
from torch import Tensor, nn

Rule = tuple[str, Callable[[Tensor], Tensor]]

# The first pattern found in a parameter's name says what becomes of a standard normal draw.
# transformers' own initialiser is of no use here: with a deviation of 0.02 all attention scores are
# nearly equal, so a wrong rope or mask would hardly show, and norms of exactly one hide a norm left out.
INITIAL: tuple[Rule, ...] = (
    # Attention sharp enough that the continuation changes with every position, and not so sharp that
    # it blows rounding up (check_conditioning).
    (r"[qk]_norm\.weight$", lambda draw: 1.5 * (1 + 0.1 * draw)),
    (r"[qk]_proj\.weight$", lambda draw: 1.5 * draw / math.sqrt(draw.shape[-1])),
    (r"norm\.weight$", lambda draw: 1 + 0.1 * draw),
    (r"\.bias$", lambda draw: 0.1 * draw),
    # Close together and far from zero, as in GLM 5: bfloat16 has steps of 1/32 there.
    (r"e_score_correction_bias$", lambda draw: 7 + 0.1 * draw),
    # Small beside what the layers add, or a tied model would only repeat its last token.
    (r"embed_tokens\.weight$", lambda draw: 0.1 * draw),
    # Wide apart, so that rounding cannot change which experts are chosen.
    (r"mlp\.gate\.weight$", lambda draw: 3 * draw / math.sqrt(draw.shape[-1])),
    (r"lm_head\.weight$", lambda draw: 2 * draw / math.sqrt(draw.shape[-1])),
    # Projections keep the size of what they are given.
    (r"", lambda draw: draw / math.sqrt(draw.shape[-1])),
)

# Weights that the hub stores in float32 in a checkpoint of any precision.
STORED_FLOAT32 = r"e_score_correction_bias$"


@dataclass(frozen=True)
class Routing:
    """What a router did with some tokens."""

    # The experts it took [T, k].
    chosen: Tensor
    # How far it was, at the closest token, from taking others.
    margin: float


def ahead(scores: Tensor, taken: int) -> float:
    """How far the last of those taken is ahead of the first left out, at the closest token. scores [T, N]."""
    ranked = scores.sort(dim=-1, descending=True).values
    return (ranked[:, taken - 1] - ranked[:, taken]).min().item()


def logits_and_chosen(_router: nn.Module, _inputs: tuple, output: tuple[Tensor, ...]) -> Routing:
    """For a router that takes the highest logits, whatever weights it makes of them."""
    router_logits, _weights, chosen = output
    return Routing(chosen, ahead(router_logits, chosen.shape[-1]))


def corrected_and_chosen(router: nn.Module, inputs: tuple, output: tuple[Tensor, ...]) -> Routing:
    """For a router that ranks by sigmoid and a correction bias, its own or passed to it."""
    router_logits, _weights, chosen = output
    bias = inputs[1] if len(inputs) > 1 else router.e_score_correction_bias
    return Routing(chosen, ahead(router_logits.sigmoid() + bias, chosen.shape[-1]))


def without(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight)


def in_bfloat16(weight: Tensor) -> Tensor:
    return weight.bfloat16().float()


@dataclass(frozen=True)
class Family:
    name: str
    architecture: str
    # In the spelling of a hub checkpoint written by transformers 4. Fields left out are left out of
    # an "as_given" config.json too, so that defaults are tested.
    config: dict
    dtype: torch.dtype
    seed: int
    # Fields that transformers has to be told otherwise than config.json says them.
    reference_config: dict = field(default_factory=dict)
    # "as_given": config.json is `config`. "v5": config.json is what transformers 5 writes for it.
    spelling: Literal["as_given", "v5"] = "as_given"
    # Names that must be in the files: the proof that they have the hub's layout, which is not the
    # layout transformers 5 has in memory.
    tensors: tuple[str, ...] = ()
    # Fields, in the spelling of config.json, which the logits must depend on.
    ablations: tuple[dict, ...] = ()
    # The same for weights that no field announces, or not each of them: a pattern of their names in
    # transformers' memory, and what becomes of them.
    weight_ablations: tuple[Rule, ...] = ()
    # Rules for this family's weights, ahead of INITIAL.
    initial: tuple[Rule, ...] = ()
    # Where the hub's layout is not the one that transformers writes.
    layout: Layout | None = None
    # What is in params.json, which then is there in place of config.json.
    params: dict | None = None
    # How the hub stores the weights in fewer bits than `dtype`; None if it does not.
    quantised: Quantised | None = None
    # Splits the weights into files of at most this size; None for one file.
    shard: str | None = None
    # Matches a router module's name; group 1 is the layer.
    router: str | None = None
    # From the router module, what it was given and what it returned.
    read_router: Callable[[nn.Module, tuple, tuple[Tensor, ...]], Routing] = logits_and_chosen


# 131 is no multiple of 8; the special ids are those of Llama 2 unless a family overrides them.
COMMON = {
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "max_position_embeddings": 128,
    "num_hidden_layers": 3,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 131,
}
