"""Gemma 3: two bases of rope, four norms a layer, a scaled embedding; alone and beside a vision tower."""

import torch
from layouts import SIGLIP

from families.table import COMMON, Family, Rule

INITIAL: tuple[Rule, ...] = (
    # These norms multiply by one more than their weight.
    (r"[qk]_norm\.weight$", lambda draw: 0.5 + 0.1 * draw),
    (r"norm\.weight$", lambda draw: 0.2 * draw),
)

# Of what Llama's config has, Gemma's has not all.
SHARED = {name: COMMON[name] for name in COMMON if name not in ("hidden_act", "rope_theta", "tie_word_embeddings")}

TEXT = SHARED | {
    "attention_bias": False,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": [1, 3],
    "final_logit_softcapping": None,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "intermediate_size": 96,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 24,  # not the width of a head
    "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 100,
    "rope_scaling": None,
    "rope_theta": 10000,
    "sliding_window": 16,
    "sliding_window_pattern": 3,  # the third layer is the one without a window
}

ABLATIONS = (
    {"query_pre_attn_scalar": 16},
    {"rope_local_base_freq": 10000},
    {"rope_theta": 100},
    {"sliding_window": 15},
    {"sliding_window": 17},
)

NORMS = tuple(
    f"model.layers.3.{norm}.weight"
    for norm in (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
        "self_attn.q_norm",
        "self_attn.k_norm",
    )
)

GEMMA3 = (
    Family(
        name="gemma3_text",
        architecture="Gemma3ForCausalLM",
        config=TEXT,
        dtype=torch.bfloat16,
        seed=35,
        initial=INITIAL,
        tensors=NORMS,
        ablations=(*ABLATIONS, {"hidden_activation": "silu"}, {"sliding_window_pattern": 2}),
    ),
    Family(
        name="gemma3",
        architecture="Gemma3ForConditionalGeneration",
        config={
            "boi_token_index": 126,
            "eoi_token_index": 127,
            "eos_token_id": [1, 3],
            "image_token_index": 128,
            "initializer_range": 0.02,
            "mm_tokens_per_image": 4,
            "model_type": "gemma3",
            # As little as on the hub: rope bases, pattern (6), epsilon and activation are left out.
            "text_config": {
                "head_dim": 16,
                "hidden_size": 40,
                "intermediate_size": 56,
                "max_position_embeddings": 128,
                "model_type": "gemma3_text",
                "num_attention_heads": 2,
                "num_hidden_layers": 7,
                "num_key_value_heads": 1,
                "query_pre_attn_scalar": 24,
                # Of the layers without a window alone.
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                "sliding_window": 16,
                "vocab_size": 131,
            },
            "vision_config": {
                "hidden_size": 16,
                "image_size": 16,
                "intermediate_size": 16,
                "model_type": "siglip_vision_model",
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "patch_size": 4,
                "vision_use_head": False,
            },
        },
        dtype=torch.bfloat16,
        seed=10,
        initial=INITIAL,
        layout=SIGLIP,
        shard="100KB",
        tensors=(
            *(f"language_model.{name}" for name in NORMS),
            "multi_modal_projector.mm_input_projection_weight",
            "vision_tower.vision_model.embeddings.patch_embedding.weight",
        ),
        ablations=(
            {"query_pre_attn_scalar": 16},
            {"rope_local_base_freq": 1000000},
            {"rope_scaling": None},
            {"rope_theta": 10000},
            {"sliding_window": 17},
            {"sliding_window_pattern": 2},
        ),
    ),
)
