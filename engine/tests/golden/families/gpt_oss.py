"""gpt-oss: attention sinks, alternating windows, biases everywhere, clamped SwiGLU; in bf16 and in MXFP4."""

import math

import torch
from quantised import MXFP4

from families.table import COMMON, Family, Rule, without

# Experts lie [E, in, out] in memory, so the fan-in is not the last dimension.
TRANSPOSED_EXPERTS: tuple[Rule, ...] = (
    # Wide enough that swiglu_limit clamps some.
    (r"experts\.gate_up_proj$", lambda draw: 1.5 * draw / math.sqrt(draw.shape[-2])),
    (r"experts\.down_proj$", lambda draw: draw / math.sqrt(draw.shape[-2])),
    (r"experts\.\w+_proj_bias$", lambda draw: 0.3 * draw),
    (r"router\.weight$", lambda draw: 3 * draw / math.sqrt(draw.shape[-1])),
    (r"router\.bias$", lambda draw: draw),
    (r"self_attn\.sinks$", lambda draw: 1 + draw),
)

ABLATIONS = (
    {"num_experts_per_tok": 1},
    {"rope_scaling": None},
    {"sliding_window": 15},
    {"sliding_window": 17},
    {"swiglu_limit": 7.0},
)


def yarn(**other: object) -> dict:
    # The ramp runs from pair 0.36 to pair 1.56 of 8, so that each field moves a frequency. The longest
    # prompt ends six times beyond the original length.
    return {
        "beta_fast": 1.5,
        "beta_slow": 0.25,
        "factor": 8.0,
        "original_max_position_embeddings": 16,
        "rope_type": "yarn",
        "truncate": False,
    } | other


CONFIG = COMMON | {
    "attention_bias": True,
    "head_dim": 16,
    "initial_context_length": 16,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "model_type": "gpt_oss",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "rope_scaling": yarn(),
    "rope_theta": 150000,  # an integer on the hub too
    "router_aux_loss_coef": 0.9,
    "sliding_window": 16,
}

GPT_OSS = (
    Family(
        name="gpt_oss",
        architecture="GptOssForCausalLM",
        config=CONFIG
        | {
            "experts_per_token": 2,  # as on the hub, beside the newer name
            "intermediate_size": 24,
            "num_experts_per_tok": 2,
            "num_local_experts": 5,
            "swiglu_limit": 2.0,
        },
        dtype=torch.bfloat16,
        seed=1,
        initial=TRANSPOSED_EXPERTS,
        tensors=(
            "model.layers.2.self_attn.sinks",
            "model.layers.2.self_attn.o_proj.bias",
            "model.layers.2.mlp.router.weight",
            "model.layers.2.mlp.router.bias",
            "model.layers.2.mlp.experts.gate_up_proj",
            "model.layers.2.mlp.experts.gate_up_proj_bias",
            "model.layers.2.mlp.experts.down_proj",
            "model.layers.2.mlp.experts.down_proj_bias",
        ),
        ablations=(
            *ABLATIONS,
            {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
            {"rope_scaling": yarn(truncate=True)},
            {"rope_scaling": yarn(beta_fast=32.0)},
            {"rope_scaling": yarn(beta_slow=1.0)},
            {"rope_scaling": yarn(attention_factor=1.0)},
        ),
        weight_ablations=(
            (r"sinks", without),
            (r"o_proj\.bias", without),
            (r"router\.bias", without),
            (r"gate_up_proj_bias", without),
            (r"down_proj_bias", without),
        ),
        router=r"model\.layers\.(\d+)\.mlp\.router",
    ),
    Family(
        name="gpt_oss_mxfp4",
        architecture="GptOssForCausalLM",
        config=CONFIG
        | {
            "experts_per_token": 4,
            "hidden_size": 64,  # and the width of an expert: multiples of the 32 elements of a block
            "intermediate_size": 32,
            "num_experts_per_tok": 4,
            "num_local_experts": 6,
            "swiglu_limit": 3.0,
        },
        dtype=torch.bfloat16,
        seed=5,
        initial=TRANSPOSED_EXPERTS,
        quantised=MXFP4,
        shard="100KB",
        tensors=(
            "model.layers.2.mlp.router.bias",
            "model.layers.2.mlp.experts.gate_up_proj_blocks",
            "model.layers.2.mlp.experts.gate_up_proj_scales",
            "model.layers.2.mlp.experts.gate_up_proj_bias",
            "model.layers.2.mlp.experts.down_proj_blocks",
            "model.layers.2.mlp.experts.down_proj_scales",
            "model.layers.2.mlp.experts.down_proj_bias",
        ),
        ablations=ABLATIONS,
        router=r"model\.layers\.(\d+)\.mlp\.router",
    ),
)
