"""Mistral's own mixtures with latent attention: Small 4 and Large 3."""

import torch
from layouts import EXPERTS_APART, MISTRAL

from families.deepseek import MLA, Q_LORA_TENSORS, ROUTER, SHARPER
from families.table import Family

BETA_FAST, BETA_SLOW = 1.0, 0.1  # as in DeepSeek's rows

CONFIG = MLA | {
    "n_group": 1,
    "n_routed_experts": 10,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 3,
    "q_lora_rank": 24,
    "routed_scaling_factor": 1.0,
    "topk_group": 1,
}
del CONFIG["moe_layer_freq"], CONFIG["rope_theta"]


def rope(**other: object) -> dict:
    return {
        "beta_fast": BETA_FAST,
        "beta_slow": BETA_SLOW,
        "factor": 8.0,
        "llama_4_scaling_beta": 0.5,
        "max_position_embeddings": 128,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 16,
        "rope_theta": 10000.0,
        "rope_type": "yarn",
        "type": "yarn",
    } | other


FUSED_TENSORS = (
    "model.layers.1.mlp.gate.weight",
    "model.layers.1.mlp.experts.gate_up_proj",
    "model.layers.1.mlp.experts.down_proj",
    "model.layers.1.mlp.shared_experts.down_proj.weight",
)
ABLATIONS = (
    {"norm_topk_prob": False},
    {"num_experts_per_tok": 2},
    {"rope_interleave": False},
    {"rope_parameters": rope(factor=1.0)},
    {"rope_parameters": rope(llama_4_scaling_beta=0.0)},
    {"rope_parameters": rope(mscale_all_dim=0.0)},
)

# Large 3 is this architecture too, though vLLM calls its config a DeepSeek V3's: softmax, no correction
# bias, queries scaled by position. Its YaRN says `apply_scale: false`, which vLLM writes as an attention
# factor of 1 and takes to mean that no mscale is applied, neither to cos and sin nor to the attention.
LARGE_3 = {
    "first_k_dense_replace": 1,
    "num_hidden_layers": 2,
    "routed_scaling_factor": 1.5,
}
LARGE_3_REFERENCE = {
    "model_type": "mistral4",
    "rope_interleave": True,
    "rope_parameters": rope(attention_factor=1.0, mscale_all_dim=0.0),
}

MISTRAL_4 = (
    Family(
        name="mistral4",
        architecture="Mistral4ForCausalLM",
        config=CONFIG
        | {
            "first_k_dense_replace": 0,
            "model_type": "mistral4",
            "rope_interleave": True,
            "rope_parameters": rope(),
        },
        dtype=torch.bfloat16,
        seed=5,
        spelling="v5",
        initial=SHARPER,
        tensors=(*FUSED_TENSORS, *Q_LORA_TENSORS),
        ablations=ABLATIONS,
        router=ROUTER,
    ),
    Family(
        name="mistral_small4",
        architecture="Mistral3ForConditionalGeneration",
        config={
            "image_token_index": 10,
            "model_type": "mistral3",
            "multimodal_projector_bias": False,
            "projector_hidden_act": "gelu",
            "spatial_merge_size": 2,
            "text_config": CONFIG
            | {
                "first_k_dense_replace": 0,
                "model_type": "mistral4",
                "num_hidden_layers": 2,
                "rope_interleave": True,
                "rope_parameters": rope(),
            },
            "tie_word_embeddings": False,
            "vision_config": {
                "attention_dropout": 0.0,
                "head_dim": 8,
                "hidden_act": "silu",
                "hidden_size": 16,
                "image_size": 16,
                "initializer_range": 0.02,
                "intermediate_size": 16,
                "model_type": "pixtral",
                "num_attention_heads": 2,
                "num_channels": 3,
                "num_hidden_layers": 1,
                "patch_size": 4,
                "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
            },
            "vision_feature_layer": -1,
        },
        dtype=torch.bfloat16,
        seed=1,
        spelling="v5",
        initial=SHARPER,
        tensors=(
            *(f"language_model.{name}" for name in FUSED_TENSORS),
            "language_model.lm_head.weight",
            "vision_tower.patch_conv.weight",
        ),
        ablations=ABLATIONS,
        router=r"model\.language_model\.layers\.(\d+)\.mlp\.gate",
    ),
    Family(
        name="mistral_large3",
        architecture="MistralLarge3ForCausalLM",
        config=CONFIG
        | LARGE_3
        | {
            "llama_4_scaling": {"beta": 0.5, "original_max_position_embeddings": 16},
            "model_type": "deepseek_v3",
            "moe_layer_freq": 1,
            "rope_parameters": {
                "attention_factor": 1.0,
                "beta_fast": BETA_FAST,
                "beta_slow": BETA_SLOW,
                "factor": 8.0,
                "mscale_all_dim": 1,
                "original_max_position_embeddings": 16,
                "rope_theta": 10000.0,
                "rope_type": "yarn",
            },
            "scoring_func": "softmax",
            "topk_method": None,
        },
        reference_config=LARGE_3_REFERENCE,
        dtype=torch.bfloat16,
        seed=3,
        initial=SHARPER,
        layout=EXPERTS_APART,
        tensors=("model.layers.1.mlp.experts.9.up_proj.weight", *Q_LORA_TENSORS),
        ablations=(
            {"rope_parameters": rope(attention_factor=1.0)},
            {"rope_parameters": rope(attention_factor=1.0, mscale_all_dim=0.0, llama_4_scaling_beta=0.0)},
            {"routed_scaling_factor": 1.0},
        ),
        router=ROUTER,
    ),
    Family(
        name="mistral_large3_native",
        architecture="MistralLarge3ForCausalLM",
        config=CONFIG | LARGE_3,
        params={
            "dim": 48,
            "head_dim": 32,
            "hidden_dim": 64,
            "kv_lora_rank": 20,
            "llama_4_scaling": {"beta": 0.5, "original_max_position_embeddings": 16},
            "max_position_embeddings": 128,
            "moe": {
                "expert_hidden_dim": 16,
                "expert_model_parallel": 1,
                "expert_parallel": 1,
                "first_k_dense_replace": 1,
                "num_expert_groups": 1,
                "num_expert_groups_per_tok": 1,
                "num_experts": 10,
                "num_experts_per_tok": 3,
                "num_shared_experts": 1,
                "route_every_n": 1,
                "routed_scale": 1.5,
            },
            "n_heads": 4,
            "n_kv_heads": 4,
            "n_layers": 2,
            "norm_eps": 1e-06,
            "q_lora_rank": 24,
            "qk_nope_head_dim": 16,
            "qk_rope_head_dim": 16,
            "rope_theta": 10000.0,
            "tied_embeddings": False,
            "v_head_dim": 12,
            "vocab_size": 131,
            "yarn": {
                "alpha": BETA_SLOW,
                "apply_scale": False,
                "beta": BETA_FAST,
                "factor": 8,
                "original_max_position_embeddings": 16,
            },
        },
        reference_config=LARGE_3_REFERENCE,
        dtype=torch.bfloat16,
        seed=3,
        initial=SHARPER,
        layout=MISTRAL,
        tensors=("layers.1.experts.9.w3.weight", "layers.1.attention.wkv_a_with_mqa.weight", "output.weight"),
        router=ROUTER,
    ),
)
