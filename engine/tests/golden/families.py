"""The table of model families: what make.py builds, and why each row has the sizes it has.

To add a family: one row in FAMILIES; a rule in INITIAL if it brings a kind of weight that the last
rule would spoil; a function beside `logits_and_chosen` if its router returns something else. Then
`make.py --find-seed NAME` for the seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# The first pattern found in a parameter's name says what becomes of a standard normal draw.
# transformers' own initialiser is of no use here: with a deviation of 0.02 all attention scores are
# nearly equal, so a wrong rope or mask would hardly show, and norms of exactly one hide a norm left out.
INITIAL: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    # Attention sharp enough that the continuation changes with every position, and not so sharp that
    # it blows rounding up (check_conditioning).
    (r"[qk]_norm\.weight$", lambda draw: 1.5 * (1 + 0.1 * draw)),
    (r"[qk]_proj\.weight$", lambda draw: 1.5 * draw / math.sqrt(draw.shape[-1])),
    (r"norm\.weight$", lambda draw: 1 + 0.1 * draw),
    (r"\.bias$", lambda draw: 0.1 * draw),
    # Small beside what the layers add, or a tied model would only repeat its last token.
    (r"embed_tokens\.weight$", lambda draw: 0.1 * draw),
    # Wide apart, so that rounding cannot change which experts are chosen.
    (r"mlp\.gate\.weight$", lambda draw: 3 * draw / math.sqrt(draw.shape[-1])),
    (r"lm_head\.weight$", lambda draw: 2 * draw / math.sqrt(draw.shape[-1])),
    # Projections keep the size of what they are given.
    (r"", lambda draw: draw / math.sqrt(draw.shape[-1])),
)


def logits_and_chosen(output: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The scores a router ranks its experts by [T, E], and those it took [T, k]."""
    router_logits, _weights, chosen = output
    return router_logits, chosen


@dataclass(frozen=True)
class Family:
    name: str
    architecture: str
    # In the spelling of a hub checkpoint written by transformers 4. Fields left out are left out of
    # an "as_given" config.json too, so that defaults are tested.
    config: dict
    dtype: torch.dtype
    seed: int
    # "as_given": config.json is `config`. "v5": config.json is what transformers 5 writes for it.
    spelling: Literal["as_given", "v5"] = "as_given"
    # Names that must be in the files: the proof that they have the hub's layout, which is not the
    # layout transformers 5 has in memory.
    tensors: tuple[str, ...] = ()
    # Fields, in the spelling of config.json, which the logits must depend on.
    ablations: tuple[dict, ...] = ()
    # Splits the weights into files of at most this size; None for one file.
    shard: str | None = None
    # Matches a router module's name; group 1 is the layer.
    router: str | None = None
    read_router: Callable[[tuple[Tensor, ...]], tuple[Tensor, Tensor]] = logits_and_chosen


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

QWEN3_MOE = COMMON | {
    "attention_bias": False,
    "head_dim": 16,
    "intermediate_size": 64,
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 16,
    "num_experts": 12,
    "num_experts_per_tok": 3,
    "output_router_logits": False,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.001,
    "sliding_window": None,
    "use_sliding_window": False,
}

FAMILIES = (
    Family(
        name="llama",
        architecture="LlamaForCausalLM",
        config=COMMON
        | {
            "attention_bias": False,
            "eos_token_id": [2, 3],  # a list, as Llama 3 has it
            "head_dim": 16,  # 6 * 16 is not 48
            "intermediate_size": 64,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": 6,  # an odd group of 3 query heads per key head
            "num_key_value_heads": 2,
            # Wavelengths 6.3, 20 and above: one in each of the three bands (< 8, 8 to 32, > 32).
            "rope_scaling": {
                "factor": 4.0,
                "high_freq_factor": 2.0,
                "low_freq_factor": 0.5,
                "original_max_position_embeddings": 16,
                "rope_type": "llama3",
            },
        },
        dtype=torch.float32,
        seed=1,
        tensors=("model.layers.2.mlp.down_proj.weight", "lm_head.weight"),
        ablations=(
            {"rope_scaling": None},
            {"rope_theta": 500000.0},
            {"rope_scaling": {"factor": 4.0, "rope_type": "linear"}},
        ),
    ),
    Family(
        name="mistral",
        architecture="MistralForCausalLM",
        config=COMMON
        | {
            "hidden_size": 64,  # head_dim is left out: 64 / 4
            "intermediate_size": 80,
            "model_type": "mistral",
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-2,  # large enough for a wrong epsilon to show
            "sliding_window": None,
        },
        dtype=torch.bfloat16,
        seed=2,
        tensors=("model.layers.2.self_attn.o_proj.weight", "lm_head.weight"),
        ablations=({"rope_theta": 1000000.0}, {"rms_norm_eps": 1e-5}),
    ),
    Family(
        name="mistral_window",
        architecture="MistralForCausalLM",
        config=COMMON
        | {
            "head_dim": 16,
            "intermediate_size": 80,
            "model_type": "mistral",
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "sliding_window": 16,
        },
        dtype=torch.float16,
        seed=3,
        spelling="v5",
        tensors=("model.layers.2.self_attn.o_proj.weight", "lm_head.weight"),
        # 15 and 17 are the two ways to be off by one.
        ablations=({"sliding_window": None}, {"sliding_window": 15}, {"sliding_window": 17}),
    ),
    Family(
        name="qwen3",
        architecture="Qwen3ForCausalLM",
        config=COMMON
        | {
            "attention_bias": False,
            "bos_token_id": None,
            "head_dim": 16,
            "intermediate_size": 96,
            "max_window_layers": 3,
            "model_type": "qwen3",
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-2,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
        },
        dtype=torch.float16,
        seed=6,
        spelling="v5",
        tensors=("model.layers.2.self_attn.q_norm.weight", "model.layers.2.self_attn.k_norm.weight"),
        ablations=(
            {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}},
            {"rms_norm_eps": 1e-6},
        ),
    ),
    Family(
        name="mixtral",
        architecture="MixtralForCausalLM",
        config=COMMON
        | {
            "head_dim": None,
            "hidden_size": 64,
            "intermediate_size": 32,
            "model_type": "mixtral",
            "num_attention_heads": 4,
            "num_experts_per_tok": 2,
            "num_key_value_heads": 2,
            "num_local_experts": 5,
            "output_router_logits": False,
            "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.02,
            "sliding_window": None,
        },
        dtype=torch.bfloat16,
        seed=1,
        shard="100KB",
        tensors=(
            "model.layers.0.block_sparse_moe.gate.weight",
            "model.layers.2.block_sparse_moe.experts.4.w1.weight",
            "model.layers.2.block_sparse_moe.experts.4.w2.weight",
            "model.layers.2.block_sparse_moe.experts.4.w3.weight",
        ),
        ablations=({"num_experts_per_tok": 1}, {"rope_theta": 10000.0}),
        router=r"model\.layers\.(\d+)\.mlp\.gate",
    ),
    Family(
        name="qwen3_moe",
        architecture="Qwen3MoeForCausalLM",
        config=QWEN3_MOE
        | {
            "decoder_sparse_step": 1,
            "max_window_layers": 3,
            "mlp_only_layers": [1],
            "norm_topk_prob": True,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
        },
        dtype=torch.bfloat16,
        seed=5,
        tensors=(
            "model.layers.0.mlp.gate.weight",
            "model.layers.0.mlp.experts.11.gate_proj.weight",
            "model.layers.0.mlp.experts.11.up_proj.weight",
            "model.layers.0.mlp.experts.11.down_proj.weight",
            "model.layers.1.mlp.down_proj.weight",
        ),
        ablations=({"norm_topk_prob": False}, {"rope_theta": 10000.0}, {"num_experts_per_tok": 2}),
        router=r"model\.layers\.(\d+)\.mlp\.gate",
    ),
    Family(
        name="qwen3_moe_sparse",
        architecture="Qwen3MoeForCausalLM",
        config=QWEN3_MOE
        | {
            "bos_token_id": None,
            "decoder_sparse_step": 2,
            "eos_token_id": None,
            "mlp_only_layers": [],
            "norm_topk_prob": False,
            "num_attention_heads": 4,
            "num_hidden_layers": 4,
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
        },
        dtype=torch.float16,
        seed=27,
        spelling="v5",
        tensors=(
            "model.layers.0.mlp.down_proj.weight",
            "model.layers.1.mlp.gate.weight",
            "model.layers.3.mlp.experts.11.down_proj.weight",
        ),
        ablations=({"norm_topk_prob": True}, {"num_experts_per_tok": 2}),
        router=r"model\.layers\.(\d+)\.mlp\.gate",
    ),
)
