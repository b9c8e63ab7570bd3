"""Llama 4: chunks, layers without rope, weights on an expert's input; alone and beside a vision tower."""

import math

import torch
from torch import Tensor, nn

from families.table import COMMON, Family, Routing, Rule, ahead

INITIAL: tuple[Rule, ...] = (
    # Experts lie [E, in, out], so the fan-in is not the last dimension.
    (r"experts\.(gate_up|down)_proj$", lambda draw: draw / math.sqrt(draw.shape[-2])),
    (r"router\.weight$", lambda draw: 3 * draw / math.sqrt(draw.shape[-1])),
)


def highest(router: nn.Module, _inputs: tuple, output: tuple[Tensor, ...]) -> Routing:
    _scores, logits = output
    return Routing(logits.topk(router.top_k, dim=-1).indices, ahead(logits, router.top_k))


def scaled(original: int) -> dict:
    # Wavelengths 6.3, 32 and above, as in the fixture `llama`.
    return {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": original,
        "rope_type": "llama3",
    }


TEXT = COMMON | {
    "attention_bias": False,
    "attention_chunk_size": 16,
    "attn_scale": 0.5,
    "attn_temperature_tuning": True,
    "floor_scale": 8,  # so that the longest prompt is scaled by up to 2.1
    "head_dim": 16,
    "intermediate_size": 16,  # of an expert, the shared one too
    "intermediate_size_mlp": 64,
    "model_type": "llama4_text",
    "num_attention_heads": 4,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "rope_theta": 500000.0,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
}

ABLATIONS = (
    {"attention_chunk_size": 15},
    {"attention_chunk_size": 128},
    {"attn_scale": 0.1},
    {"attn_temperature_tuning": False},
    {"floor_scale": 9},
    {"num_experts_per_tok": 2},
)


def tensors(prefix: str, sparse: int) -> tuple[str, ...]:
    names = ("router.weight", "experts.gate_up_proj", "experts.down_proj", "shared_expert.down_proj.weight")
    return tuple(f"{prefix}model.layers.{sparse}.feed_forward.{name}" for name in names)


LLAMA4 = (
    Family(
        name="llama4_text",
        architecture="Llama4ForCausalLM",
        config=TEXT
        | {
            "interleave_moe_layer_step": 2,
            "no_rope_layers": [1, 0, 1, 1],
            "num_local_experts": 6,
            "rope_scaling": None,
            "use_qk_norm": True,
        },
        dtype=torch.bfloat16,
        seed=1,
        spelling="v5",
        initial=INITIAL,
        tensors=(*tensors("", sparse=3), "model.layers.2.feed_forward.down_proj.weight"),
        ablations=(
            *ABLATIONS,
            {"no_rope_layers": [1, 1, 1, 1]},
            {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}},
            {"use_qk_norm": False},
        ),
        router=r"model\.layers\.(\d+)\.feed_forward\.router",
        read_router=highest,
    ),
    Family(
        name="llama4",
        architecture="Llama4ForConditionalGeneration",
        config={
            "boi_token_index": 126,
            "eoi_token_index": 127,
            "image_token_index": 128,
            "model_type": "llama4",
            "text_config": TEXT
            | {
                "eos_token_id": [2, 3],
                "for_llm_compressor": False,
                "interleave_moe_layer_step": 1,
                "no_rope_layers": [],  # empty on the hub too: every fourth layer is without
                "num_local_experts": 5,
                "pad_token_id": 0,
                "rope_scaling": scaled(32),
                "tie_word_embeddings": False,
                "torch_dtype": "bfloat16",
                "use_qk_norm": False,  # as in the larger of the two models
            },
            "tie_word_embeddings": False,
            "vision_config": {
                "attention_dropout": 0.0,
                "hidden_act": "gelu",
                "hidden_size": 16,
                "image_size": 8,
                "initializer_range": 0.02,
                "intermediate_size": 16,
                "model_type": "llama4_vision_model",
                "multi_modal_projector_bias": False,
                "norm_eps": 1e-5,
                "num_attention_heads": 2,
                "num_channels": 3,
                "num_hidden_layers": 1,
                "patch_size": 4,
                "pixel_shuffle_ratio": 0.5,
                "projector_dropout": 0.0,
                "projector_input_dim": 16,
                "projector_output_dim": 16,
                "rope_theta": 10000,
                "vision_feature_layer": -1,
                "vision_feature_select_strategy": "default",
                "vision_output_dim": 16,
            },
        },
        dtype=torch.bfloat16,
        seed=1,
        initial=INITIAL,
        shard="100KB",
        tensors=(
            *tensors("language_model.", sparse=3),
            "language_model.lm_head.weight",
            "multi_modal_projector.linear_1.weight",
            "vision_model.class_embedding",
        ),
        ablations=(
            *ABLATIONS,
            {"no_rope_layers": [1, 1, 1, 1]},
            {"rope_scaling": None},
            {"use_qk_norm": True},
        ),
        router=r"language_model\.model\.layers\.(\d+)\.feed_forward\.router",
        read_router=highest,
    ),
)
