"""Granite MoE and Phi-3.5-MoE: multipliers, layer norms with a bias, the sparse mixer, longrope."""

import math

import torch
from torch import Tensor, nn

from families.table import COMMON, Family, Routing, Rule, ahead, without

WIDE_ROUTER: tuple[Rule, ...] = ((r"router\.weight$", lambda draw: 3 * draw / math.sqrt(draw.shape[-1])),)


def mixed(router: nn.Module, _inputs: tuple, output: tuple[Tensor, ...]) -> Routing:
    """For the sparse mixer, which takes the best, then the best of the rest, and weighs each among the near ones."""
    logits, _weights, chosen = output
    margins = [ahead(logits, 1), ahead(logits, 2)]
    left = logits
    for taken in chosen.unbind(-1):
        best = left.amax(dim=-1, keepdim=True)
        # What is behind by more than this share of itself or of the best weighs nothing: a step at the limit.
        behind = (best - left) / logits.abs().maximum(best)
        margins.append((behind - 2 * router.router_jitter_noise).abs().min().item())
        left = left.scatter(-1, taken[:, None], -math.inf)
    return Routing(chosen, min(margins))


PHI = COMMON | {
    "attention_bias": True,
    "auto_map": {
        "AutoConfig": "configuration_phimoe.PhiMoEConfig",
        "AutoModelForCausalLM": "modeling_phimoe.PhiMoEForCausalLM",
    },
    "hidden_dropout": 0.0,
    "input_jitter_noise": 0.01,  # of training only
    "intermediate_size": 16,
    "lm_head_bias": True,
    "model_type": "phimoe",
    "num_attention_heads": 6,  # head_dim is left out: 48 / 6
    "num_experts_per_tok": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 7,
    "output_router_logits": False,
    "rms_norm_eps": 1e-2,  # of layer norms. Large enough for a wrong epsilon to show
    "router_aux_loss_coef": 0.0,
    "router_jitter_noise": 0.1,  # in use: a tenth either way is what the mixer calls near
}

SHORT_FACTOR = [1.0, 1.1, 1.3, 1.5]
LONG_FACTOR = [1.0, 1.4, 3.0, 6.0]


def longrope(original: int, **other: object) -> dict:
    return {
        "long_factor": LONG_FACTOR,
        "long_mscale": 1.25,
        "original_max_position_embeddings": original,
        "short_factor": SHORT_FACTOR,
        "short_mscale": 1.1,
        "type": "longrope",
    } | other


PHI_TENSORS = (
    "lm_head.bias",
    "model.norm.bias",
    "model.layers.1.input_layernorm.bias",
    "model.layers.1.self_attn.o_proj.bias",
    "model.layers.1.block_sparse_moe.gate.weight",
    "model.layers.1.block_sparse_moe.experts.6.w1.weight",
    "model.layers.1.block_sparse_moe.experts.6.w2.weight",
    "model.layers.1.block_sparse_moe.experts.6.w3.weight",
)

GRANITE_PHI = (
    Family(
        name="granite_moe",
        architecture="GraniteMoeForCausalLM",
        config=COMMON
        | {
            "attention_bias": False,
            "attention_multiplier": 0.5,  # in place of 1 / sqrt(12) = 0.29
            "embedding_multiplier": 1.5,
            "intermediate_size": 16,
            "logits_scaling": 0.4,
            "model_type": "granitemoe",
            "num_attention_heads": 4,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 2,
            "num_local_experts": 10,
            "output_router_logits": False,
            "residual_multiplier": 0.8,
            "rms_norm_eps": 1e-6,
            "rope_scaling": None,
            "router_aux_loss_coef": 0.0,
            "tie_word_embeddings": True,
        },
        dtype=torch.bfloat16,
        seed=3,
        initial=WIDE_ROUTER,
        tensors=(
            "model.layers.2.block_sparse_moe.input_linear.weight",
            "model.layers.2.block_sparse_moe.output_linear.weight",
            "model.layers.2.block_sparse_moe.router.layer.weight",
        ),
        ablations=(
            {"attention_multiplier": 12**-0.5},
            {"embedding_multiplier": 1.0},
            {"logits_scaling": 1.0},
            {"num_experts_per_tok": 2},
            {"residual_multiplier": 1.0},
            {"rope_theta": 1000000.0},
        ),
        router=r"model\.layers\.(\d+)\.block_sparse_moe\.router",
    ),
    Family(
        name="phi_moe",
        architecture="PhiMoEForCausalLM",
        config=PHI
        | {
            "max_position_embeddings": 128,
            # All prompts end below it: the short factors.
            "original_max_position_embeddings": 128,
            "rope_scaling": longrope(128),
            "sliding_window": 48,  # shorter than the longest prompt, unlike on the hub
        },
        dtype=torch.bfloat16,
        seed=73,
        initial=WIDE_ROUTER,
        tensors=PHI_TENSORS,
        ablations=(
            {"attention_bias": False},
            {"lm_head_bias": False},
            {"rms_norm_eps": 1e-5},
            {"rope_scaling": longrope(128, short_factor=LONG_FACTOR)},
            {"rope_scaling": longrope(128, short_mscale=1.0)},
            {"router_jitter_noise": 0.01},
            {"sliding_window": None},
            {"sliding_window": 47},
        ),
        weight_ablations=((r"layernorm\.bias", without), (r"model\.norm\.bias", without)),
        router=r"model\.layers\.(\d+)\.mlp\.router",
        read_router=mixed,
    ),
    Family(
        name="phi_moe_long",
        architecture="PhiMoEForCausalLM",
        config=PHI
        | {
            "max_position_embeddings": 128,
            # With a third layer few seeds give the margins.
            "num_hidden_layers": 2,
            # Shorter than the context that the config allows: the long factors, for every prompt.
            "original_max_position_embeddings": 16,
            "rope_scaling": longrope(16),
            "sliding_window": None,
        },
        # transformers would rotate with the short factors at any length and scale by the length of the
        # call. The code that came with the weights takes the long set beyond the original length, and a
        # server, which rotates a key once, has to take one set for all of them.
        reference_config={
            "original_max_position_embeddings": 128,
            "rope_scaling": longrope(128, short_factor=LONG_FACTOR, short_mscale=1.25),
        },
        dtype=torch.float16,
        seed=13,
        initial=WIDE_ROUTER,
        shard="100KB",
        tensors=PHI_TENSORS,
        ablations=({"rope_scaling": longrope(128)},),
        router=r"model\.layers\.(\d+)\.mlp\.router",
        read_router=mixed,
    ),
)
