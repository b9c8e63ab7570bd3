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
from torch import Tensor, nn

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


def logits_and_chosen(_router: nn.Module, _inputs: tuple, output: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The scores a router ranks its experts by [T, E], and those it took [T, k]."""
    router_logits, _weights, chosen = output
    return router_logits, chosen


def corrected_and_chosen(router: nn.Module, inputs: tuple, output: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The same for a router that ranks by sigmoid and a correction bias, its own or passed to it."""
    router_logits, _weights, chosen = output
    bias = inputs[1] if len(inputs) > 1 else router.e_score_correction_bias
    return router_logits.sigmoid() + bias, chosen


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
    # "as_given": config.json is `config`. "v5": config.json is what transformers 5 writes for it.
    spelling: Literal["as_given", "v5"] = "as_given"
    # Names that must be in the files: the proof that they have the hub's layout, which is not the
    # layout transformers 5 has in memory.
    tensors: tuple[str, ...] = ()
    # Fields, in the spelling of config.json, which the logits must depend on.
    ablations: tuple[dict, ...] = ()
    # The same for weights that no field announces, or not each of them: a pattern of their names in
    # transformers' memory, and what becomes of them.
    weight_ablations: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = ()
    # Splits the weights into files of at most this size; None for one file.
    shard: str | None = None
    # Matches a router module's name; group 1 is the layer.
    router: str | None = None
    # From the router module, what it was given and what it returned.
    read_router: Callable[[nn.Module, tuple, tuple[Tensor, ...]], tuple[Tensor, Tensor]] = logits_and_chosen


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
    Family(
        name="qwen2",
        architecture="Qwen2ForCausalLM",
        config=COMMON
        | {
            "hidden_size": 56,  # head_dim is left out: 56 / 7
            "intermediate_size": 72,
            "max_window_layers": 1,
            "model_type": "qwen2",
            "num_attention_heads": 7,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "sliding_window": 16,  # not in use: see use_sliding_window
            "tie_word_embeddings": True,
            "use_sliding_window": False,
        },
        dtype=torch.bfloat16,
        seed=1,
        tensors=(
            "model.layers.2.self_attn.q_proj.bias",
            "model.layers.2.self_attn.k_proj.bias",
            "model.layers.2.self_attn.v_proj.bias",
        ),
        ablations=({"use_sliding_window": True}, {"rope_theta": 10000.0}),
        weight_ablations=((r"q_proj\.bias", without), (r"k_proj\.bias", without), (r"v_proj\.bias", without)),
    ),
    Family(
        name="qwen2_moe",
        architecture="Qwen2MoeForCausalLM",
        # qkv_bias is left out, as on the hub: it defaults to true.
        config=COMMON
        | {
            "decoder_sparse_step": 1,
            "intermediate_size": 64,
            "max_window_layers": 2,
            "mlp_only_layers": [1],
            "model_type": "qwen2_moe",
            "moe_intermediate_size": 16,
            "norm_topk_prob": False,
            "num_attention_heads": 6,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "num_key_value_heads": 6,
            "output_router_logits": False,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.001,
            "shared_expert_intermediate_size": 40,
            "sliding_window": 16,  # not in use: see use_sliding_window
            "use_sliding_window": False,
        },
        dtype=torch.float16,
        seed=1,
        tensors=(
            "model.layers.0.mlp.gate.weight",
            "model.layers.0.mlp.experts.5.gate_proj.weight",
            "model.layers.0.mlp.experts.5.up_proj.weight",
            "model.layers.0.mlp.experts.5.down_proj.weight",
            "model.layers.0.mlp.shared_expert.gate_proj.weight",
            "model.layers.0.mlp.shared_expert.up_proj.weight",
            "model.layers.0.mlp.shared_expert.down_proj.weight",
            "model.layers.0.mlp.shared_expert_gate.weight",
            "model.layers.1.mlp.down_proj.weight",
            "model.layers.2.self_attn.v_proj.bias",
        ),
        ablations=(
            {"norm_topk_prob": True},
            {"num_experts_per_tok": 1},
            {"qkv_bias": False},
            {"rope_theta": 10000.0},
            {"use_sliding_window": True},
        ),
        weight_ablations=((r"shared_expert_gate\.weight", without),),
        router=r"model\.layers\.(\d+)\.mlp\.gate",
    ),
    Family(
        name="olmoe",
        architecture="OlmoeForCausalLM",
        config=COMMON
        | {
            "attention_bias": False,
            "clip_qkv": 1.25,  # of queries and keys it clips two in five, of values one in five
            "hidden_size": 64,
            "intermediate_size": 16,  # of an expert
            "model_type": "olmoe",
            "norm_topk_prob": False,
            "num_attention_heads": 4,
            "num_experts": 10,
            "num_experts_per_tok": 4,
            "num_key_value_heads": 2,  # so that k_norm is narrower than q_norm
            "output_router_logits": False,
            "pad_token_id": 1,
            "rope_scaling": None,
            "router_aux_loss_coef": 0.01,
        },
        dtype=torch.bfloat16,
        seed=3,
        tensors=(
            "model.layers.2.self_attn.q_norm.weight",
            "model.layers.2.self_attn.k_norm.weight",
            "model.layers.2.mlp.gate.weight",
            "model.layers.2.mlp.experts.9.gate_proj.weight",
            "model.layers.2.mlp.experts.9.up_proj.weight",
            "model.layers.2.mlp.experts.9.down_proj.weight",
        ),
        ablations=(
            {"clip_qkv": None},
            {"clip_qkv": 2.5},
            {"norm_topk_prob": True},
            {"num_experts_per_tok": 3},
            {"rope_theta": 1000000.0},
        ),
        router=r"model\.layers\.(\d+)\.mlp\.gate",
    ),
    Family(
        name="glm4_moe",
        architecture="Glm4MoeForCausalLM",
        config=COMMON
        | {
            "attention_bias": True,
            "eos_token_id": [2, 3],
            "first_k_dense_replace": 1,
            "head_dim": 16,
            "intermediate_size": 64,
            "model_type": "glm4_moe",
            "moe_intermediate_size": 16,
            "n_group": 1,
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "norm_topk_prob": True,
            "num_attention_heads": 6,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 2,
            # As on the hub, though no weights of such a layer are in the fixture.
            "num_nextn_predict_layers": 1,
            "partial_rotary_factor": 0.5,
            "rope_scaling": None,
            "rope_theta": 1000000,  # an integer on the hub too
            "routed_scaling_factor": 2.5,
            "topk_group": 1,
            "use_qk_norm": True,
        },
        dtype=torch.bfloat16,
        seed=95,
        tensors=(
            "model.layers.0.mlp.down_proj.weight",
            "model.layers.1.mlp.gate.weight",
            "model.layers.1.mlp.gate.e_score_correction_bias",
            "model.layers.2.mlp.experts.7.gate_proj.weight",
            "model.layers.2.mlp.experts.7.up_proj.weight",
            "model.layers.2.mlp.experts.7.down_proj.weight",
            "model.layers.2.mlp.shared_experts.gate_proj.weight",
            "model.layers.2.mlp.shared_experts.up_proj.weight",
            "model.layers.2.mlp.shared_experts.down_proj.weight",
            "model.layers.2.self_attn.v_proj.bias",
            "model.layers.2.self_attn.k_norm.weight",
        ),
        ablations=(
            {"attention_bias": False},
            {"n_group": 2},
            {"norm_topk_prob": False},
            {"num_experts_per_tok": 2},
            {"partial_rotary_factor": 1.0},
            {"rope_theta": 10000},
            {"routed_scaling_factor": 1.0},
            {"use_qk_norm": False},
        ),
        weight_ablations=((r"e_score_correction_bias", without), (r"e_score_correction_bias", in_bfloat16)),
        router=r"model\.layers\.(\d+)\.mlp\.gate",
        read_router=corrected_and_chosen,
    ),
    Family(
        name="minimax_m2",
        architecture="MiniMaxM2ForCausalLM",
        config=COMMON
        | {
            "attn_type_list": [1, 1],
            "head_dim": 16,
            "intermediate_size": 16,  # of an expert
            "model_type": "minimax_m2",
            "mtp_transformer_layers": 1,
            "num_attention_heads": 4,
            "num_experts_per_tok": 3,
            # Sigmoids lie so close together that with a third layer no seed gives the margins.
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "num_local_experts": 9,
            "num_mtp_modules": 3,
            "output_router_logits": False,
            "qk_norm_type": "per_layer",  # over all heads at once
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000,
            "rotary_dim": 8,  # in place of partial_rotary_factor
            "router_aux_loss_coef": 0.001,
            "router_jitter_noise": 0.0,
            "scoring_func": "sigmoid",
            "shared_intermediate_size": 0,
            "use_mtp": True,
            "use_qk_norm": True,
            "use_routing_bias": True,
        },
        dtype=torch.bfloat16,
        seed=156,
        tensors=(
            "model.layers.0.block_sparse_moe.gate.weight",
            "model.layers.0.block_sparse_moe.e_score_correction_bias",
            "model.layers.1.block_sparse_moe.experts.8.w1.weight",
            "model.layers.1.block_sparse_moe.experts.8.w2.weight",
            "model.layers.1.block_sparse_moe.experts.8.w3.weight",
            "model.layers.1.self_attn.q_norm.weight",
            "model.layers.1.self_attn.k_norm.weight",
        ),
        ablations=({"num_experts_per_tok": 2}, {"rope_theta": 5000000}, {"rotary_dim": 16}),
        weight_ablations=((r"e_score_correction_bias", without), (r"e_score_correction_bias", in_bfloat16)),
        router=r"model\.layers\.(\d+)\.mlp\.gate",
        read_router=corrected_and_chosen,
    ),
)
