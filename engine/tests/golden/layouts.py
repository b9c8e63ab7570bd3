"""Layouts of checkpoints that transformers does not write: other names, experts apart.

transformers saves in its own names (families/table.py says which weights prove them to be the hub's).
Where the hub has others, a row names one of these.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    # From what transformers writes to what the hub has.
    write: Callable[[Tensors], Tensors]
    # And back; None where transformers reads the hub's names itself.
    read: Callable[[Tensors], Tensors] | None = None


def renamed(tensors: Tensors, names: list[tuple[str, str]]) -> Tensors:
    """With the first of these patterns that is found in a name replaced there."""

    def rename(name: str) -> str:
        return next((re.sub(old, new, name) for old, new in names if re.search(old, name)), name)

    return {rename(name): tensor for name, tensor in tensors.items()}


# --- Gemma 3 -----------------------------------------------------------------------------------------

SIGLIP = Layout(lambda tensors: renamed(tensors, [(r"^vision_tower\.", "vision_tower.vision_model.")]))


# --- Experts apart, as in DeepSeek's checkpoints -----------------------------------------------------


def experts_apart(tensors: Tensors) -> Tensors:
    """Mistral 4's fused `experts.gate_up_proj` [E, 2I, H] and `experts.down_proj` [E, H, I] by expert."""
    apart: Tensors = {}
    for name, tensor in tensors.items():
        stem, projection = name.rpartition(".")[::2]
        if not stem.endswith(".experts"):
            apart[name] = tensor
            continue
        for expert, matrix in enumerate(tensor):
            if projection == "gate_up_proj":
                gate, up = matrix.chunk(2)
                apart[f"{stem}.{expert}.gate_proj.weight"] = gate.clone()
                apart[f"{stem}.{expert}.up_proj.weight"] = up.clone()
            else:
                apart[f"{stem}.{expert}.{projection}.weight"] = matrix.clone()
    return apart


def experts_fused(tensors: Tensors) -> Tensors:
    fused: Tensors = {}
    matrices: dict[tuple[str, str], dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"(.+\.experts)\.(\d+)\.(\w+)\.weight", name):
            matrices.setdefault((match[1], match[3]), {})[int(match[2])] = tensor
        else:
            fused[name] = tensor
    for stem, projection in matrices:
        stacked = torch.stack([tensor for _, tensor in sorted(matrices[stem, projection].items())])
        if projection == "down_proj":
            fused[f"{stem}.down_proj"] = stacked
        elif projection == "gate_proj":
            ups = torch.stack([tensor for _, tensor in sorted(matrices[stem, "up_proj"].items())])
            fused[f"{stem}.gate_up_proj"] = torch.cat([stacked, ups], dim=1)
    return fused


EXPERTS_APART = Layout(experts_apart, experts_fused)


# --- Mistral's own names -----------------------------------------------------------------------------

NUMBER = r"(\d+)"

# Each as (Mistral's, transformers'), up to `.weight`, with experts apart.
MISTRAL_NAMES = (
    ("tok_embeddings", "model.embed_tokens"),
    ("norm", "model.norm"),
    ("output", "lm_head"),
    ("layers.N.attention_norm", "model.layers.N.input_layernorm"),
    ("layers.N.attention.wq_a", "model.layers.N.self_attn.q_a_proj"),
    ("layers.N.attention.q_a_norm", "model.layers.N.self_attn.q_a_layernorm"),
    ("layers.N.attention.wq_b", "model.layers.N.self_attn.q_b_proj"),
    ("layers.N.attention.wkv_a_with_mqa", "model.layers.N.self_attn.kv_a_proj_with_mqa"),
    ("layers.N.attention.kv_a_norm", "model.layers.N.self_attn.kv_a_layernorm"),
    ("layers.N.attention.wkv_b", "model.layers.N.self_attn.kv_b_proj"),
    ("layers.N.attention.wo", "model.layers.N.self_attn.o_proj"),
    ("layers.N.ffn_norm", "model.layers.N.post_attention_layernorm"),
    ("layers.N.gate", "model.layers.N.mlp.gate"),
    *(
        (f"layers.N.{block}.{short}", f"model.layers.N.mlp.{name}{long}")
        for block, name in (
            ("feed_forward", ""),
            ("shared_experts", "shared_experts."),
            ("experts.N", "experts.N."),
        )
        for short, long in (("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj"))
    ),
)


def names_from(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Patterns and replacements. The first and second `N` stand for numbers."""
    numbered = ((old, new.replace("N", r"\1", 1).replace("N", r"\2")) for old, new in pairs)
    return [(f"^{re.escape(old + '.weight')}$".replace("N", NUMBER), f"{new}.weight") for old, new in numbered]


TO_MISTRAL = names_from([(ours, mistral) for mistral, ours in MISTRAL_NAMES])
FROM_MISTRAL = names_from(list(MISTRAL_NAMES))

MISTRAL = Layout(
    lambda tensors: renamed(experts_apart(tensors), TO_MISTRAL),
    lambda tensors: experts_fused(renamed(tensors, FROM_MISTRAL)),
)
