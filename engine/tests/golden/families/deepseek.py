"""Latent attention (MLA): DeepSeek V2 and V3 and those that copied them, in bf16 and in FP8 blocks."""

import math

import torch
from quantised import fp8_blocks
from torch import Tensor, nn

from families.table import COMMON, Family, Routing, Rule, ahead, in_bfloat16, without

SHARPER: tuple[Rule, ...] = ((r"(q|kv)_b_proj\.weight$", lambda draw: 1.5 * draw / math.sqrt(draw.shape[-1])),)


def in_groups(scores: Tensor, group_scores: Tensor, router: nn.Module, chosen: Tensor) -> Routing:
    """For a router that takes groups of neighbouring experts first. scores [T, E], group_scores [T, groups]."""
    taken = group_scores.topk(router.topk_group, dim=-1).indices
    left_out = torch.ones_like(group_scores, dtype=torch.bool).scatter(1, taken, False)
    scores = scores.unflatten(-1, (router.num_group, -1)).masked_fill(left_out[..., None], -math.inf).flatten(1)
    margins = [ahead(scores, chosen.shape[-1])]
    if router.topk_group < router.num_group:
        margins.append(ahead(group_scores, router.topk_group))
    return Routing(chosen, min(margins))


def best_of_group(router: nn.Module, _inputs: tuple, output: tuple[Tensor, ...]) -> Routing:
    """V2's `group_limited_greedy`: a group is as good as its best expert."""
    logits, _weights, chosen = output
    return in_groups(logits, logits.unflatten(-1, (router.num_group, -1)).amax(dim=-1), router, chosen)


def best_two_of_group(router: nn.Module, _inputs: tuple, output: tuple[Tensor, ...]) -> Routing:
    """V3's `noaux_tc`: a group is as good as its two best experts, the correction bias counted."""
    logits, _weights, chosen = output
    scores = logits.sigmoid() + router.e_score_correction_bias
    pairs = scores.unflatten(-1, (router.num_group, -1)).topk(2, dim=-1).values.sum(dim=-1)
    return in_groups(scores, pairs, router, chosen)


def yarn(factor: float, mscale: float, mscale_all_dim: float, **other: object) -> dict:
    # With pairs of wavelength 6.3, 20, 63 .. the ramp runs from pair 0 to pair 3 of 8. The longest prompt
    # ends six times beyond the original length.
    return {
        "beta_fast": 1,  # integers on the hub too
        "beta_slow": 0.1,
        "factor": factor,
        "mscale": mscale,
        "mscale_all_dim": mscale_all_dim,
        "original_max_position_embeddings": 16,
        "type": "yarn",  # the oldest name of rope_type
    } | other


def auto_map(version: str) -> dict:
    # Code that came with the weights before transformers knew them. Of no use to anybody now.
    return {
        "AutoConfig": f"configuration_deepseek.Deepseek{version}Config",
        "AutoModel": f"modeling_deepseek.Deepseek{version}Model",
        "AutoModelForCausalLM": f"modeling_deepseek.Deepseek{version}ForCausalLM",
    }


MLA = COMMON | {
    "attention_bias": False,
    "first_k_dense_replace": 1,
    "intermediate_size": 64,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 16,
    "moe_layer_freq": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "v_head_dim": 12,
}

V2 = MLA | {
    "auto_map": auto_map("V2"),
    "aux_loss_alpha": 0.001,
    "model_type": "deepseek_v2",
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_experts_per_tok": 3,
    "scoring_func": "softmax",
    "seq_aux": True,
}

V3 = MLA | {
    "auto_map": auto_map("V3"),
    "ep_size": 1,
    "model_type": "deepseek_v3",
    "n_group": 4,
    "n_routed_experts": 12,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 3,
    # As on the hub, though no weights of such a layer are in the fixture.
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 24,
    "rope_scaling": yarn(16, 1.0, 1.0),
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "topk_group": 2,
    "topk_method": "noaux_tc",
}

MLA_TENSORS = (
    "model.layers.1.self_attn.kv_a_proj_with_mqa.weight",
    "model.layers.1.self_attn.kv_a_layernorm.weight",
    "model.layers.1.self_attn.kv_b_proj.weight",
    "model.layers.0.mlp.down_proj.weight",
    "model.layers.1.mlp.gate.weight",
    "model.layers.1.mlp.experts.9.gate_proj.weight",
    "model.layers.1.mlp.experts.9.up_proj.weight",
    "model.layers.1.mlp.experts.9.down_proj.weight",
    "model.layers.1.mlp.shared_experts.down_proj.weight",
)
Q_LORA_TENSORS = (
    "model.layers.1.self_attn.q_a_proj.weight",
    "model.layers.1.self_attn.q_a_layernorm.weight",
    "model.layers.1.self_attn.q_b_proj.weight",
)
BIAS_TENSORS = ("model.layers.1.mlp.gate.e_score_correction_bias",)
BIAS_ABLATIONS: tuple[Rule, ...] = ((r"e_score_correction_bias", without), (r"e_score_correction_bias", in_bfloat16))
ROUTER = r"model\.layers\.(\d+)\.mlp\.gate"

DEEPSEEK = (
    Family(
        name="deepseek_v2_lite",
        architecture="DeepseekV2ForCausalLM",
        config=V2
        | {
            "n_group": 1,
            "n_routed_experts": 10,
            "q_lora_rank": None,
            "rope_scaling": yarn(40, 0.707, 0.707),
            "routed_scaling_factor": 1.0,
            "topk_group": 1,
            "topk_method": "greedy",
        },
        dtype=torch.bfloat16,
        seed=1,
        initial=SHARPER,
        tensors=(*MLA_TENSORS, "model.layers.1.self_attn.q_proj.weight"),
        ablations=(
            {"num_experts_per_tok": 2},
            {"rope_scaling": None},
            {"rope_scaling": yarn(40, 0.707, 0.0)},
            {"rope_scaling": yarn(40, 1.0, 0.707)},
            {"rope_theta": 50000},
        ),
        weight_ablations=((r"shared_experts\.down_proj", without),),
        router=ROUTER,
    ),
    Family(
        name="deepseek_v2",
        architecture="DeepseekV2ForCausalLM",
        config=V2
        | {
            "n_group": 4,
            "n_routed_experts": 12,
            "q_lora_rank": 24,
            # Unequal, unlike on the hub: the only fixture in which YaRN scales cos and sin themselves.
            "rope_scaling": yarn(8, 1.0, 0.707),
            "routed_scaling_factor": 4.0,
            "topk_group": 2,
            "topk_method": "group_limited_greedy",
        },
        dtype=torch.float16,
        seed=1,
        initial=SHARPER,
        shard="100KB",
        tensors=(*MLA_TENSORS, *Q_LORA_TENSORS),
        ablations=(
            {"n_group": 2, "topk_group": 1},
            {"rope_scaling": yarn(8, 0.707, 0.707)},
            {"routed_scaling_factor": 1.0},
            {"topk_group": 1},
            {"topk_method": "greedy"},
        ),
        weight_ablations=((r"shared_experts\.down_proj", without),),
        router=ROUTER,
        read_router=best_of_group,
    ),
    Family(
        name="deepseek_v3",
        architecture="DeepseekV3ForCausalLM",
        config=V3,
        dtype=torch.bfloat16,
        seed=129,
        initial=SHARPER,
        tensors=(*MLA_TENSORS, *Q_LORA_TENSORS, *BIAS_TENSORS),
        ablations=(
            {"n_group": 1, "topk_group": 1},
            {"norm_topk_prob": False},
            {"num_experts_per_tok": 2},
            {"rope_interleave": False},
            {"rope_scaling": None},
            {"rope_scaling": yarn(16, 1.0, 0.0)},
            {"routed_scaling_factor": 1.0},
            {"topk_group": 1},
        ),
        weight_ablations=BIAS_ABLATIONS,
        router=ROUTER,
        read_router=best_two_of_group,
    ),
    Family(
        name="deepseek_v3_fp8",
        architecture="DeepseekV3ForCausalLM",
        config=V3
        | {
            "moe_intermediate_size": 24,  # as little as most widths here a multiple of a block's 32 columns
            # With a third layer few seeds give the margins.
            "num_hidden_layers": 2,
        },
        dtype=torch.bfloat16,
        seed=46,
        initial=SHARPER,
        quantised=fp8_blocks(16, 32),
        tensors=(
            *MLA_TENSORS,
            *Q_LORA_TENSORS,
            *BIAS_TENSORS,
            "model.layers.1.self_attn.kv_a_proj_with_mqa.weight_scale_inv",
            "model.layers.1.mlp.experts.9.down_proj.weight_scale_inv",
            "model.layers.1.mlp.shared_experts.up_proj.weight_scale_inv",
        ),
        ablations=({"topk_group": 1},),
        router=ROUTER,
        read_router=best_two_of_group,
    ),
    Family(
        name="kimi_k2",
        architecture="DeepseekV3ForCausalLM",
        config=V3
        | {
            "aux_loss_alpha": 0.001,
            "eos_token_id": 3,
            "model_type": "kimi_k2",
            "n_group": 1,
            "n_routed_experts": 11,
            "num_nextn_predict_layers": 0,
            "rope_scaling": yarn(32.0, 1.0, 1.0, beta_fast=1.0, beta_slow=1.0),  # equal on the hub too
            "rope_theta": 50000.0,
            "routed_scaling_factor": 2.827,
            "seq_aux": True,
            "topk_group": 1,
        },
        # transformers has no such type: its class is V3's, named by the code that auto_map points to.
        reference_config={"model_type": "deepseek_v3"},
        dtype=torch.bfloat16,
        seed=33,
        initial=SHARPER,
        tensors=(*MLA_TENSORS, *Q_LORA_TENSORS, *BIAS_TENSORS),
        ablations=(
            {"norm_topk_prob": False},
            {"rope_scaling": yarn(32.0, 1.0, 1.0)},
            {"rope_theta": 10000.0},
            {"routed_scaling_factor": 2.5},
        ),
        weight_ablations=BIAS_ABLATIONS,
        router=ROUTER,
        read_router=best_two_of_group,
    ),
)
