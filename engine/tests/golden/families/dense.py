"""Dense models: every token goes through the same feed-forward."""

import torch
from quantised import compressed_tensors, fp8_scaled

from families.table import COMMON, Family, without

SMALL_LLAMA = COMMON | {
    "attention_bias": False,
    "head_dim": 16,
    "intermediate_size": 72,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

YARN = {"factor": 4.0, "original_max_position_embeddings": 32, "rope_type": "yarn"}

DENSE = (
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
        name="llama_yarn",
        architecture="LlamaForCausalLM",
        # No betas, mscales or attention factor: all by default.
        config=SMALL_LLAMA
        | {
            "rope_scaling": YARN,
            "rope_theta": 500.0,  # low, so that the ramp, which ends at one turn in 32 tokens, ends at pair 3 of 8
            "tie_word_embeddings": True,
        },
        dtype=torch.bfloat16,
        seed=4,
        shard="100KB",
        tensors=("model.layers.2.mlp.down_proj.weight",),
        ablations=(
            {"rope_scaling": None},
            {"rope_scaling": {"factor": 4.0, "rope_type": "linear"}},
            {"rope_scaling": YARN | {"attention_factor": 1.0}},
            {"rope_scaling": YARN | {"beta_fast": 1.5}},
            {"rope_scaling": YARN | {"beta_slow": 0.25}},
            {"rope_scaling": YARN | {"truncate": False}},
        ),
    ),
    Family(
        name="llama_fp8_tensor",
        architecture="LlamaForCausalLM",
        config=SMALL_LLAMA,
        dtype=torch.bfloat16,
        seed=1,
        quantised=fp8_scaled(
            compressed_tensors("tensor", "tensor"), "weight_scale", "vector of one", unread="input_scale"
        ),
        tensors=(
            "model.layers.2.self_attn.q_proj.weight_scale",
            "model.layers.2.mlp.down_proj.weight_scale",
            "model.layers.2.mlp.down_proj.input_scale",
        ),
    ),
    Family(
        name="llama_fp8_channel",
        architecture="LlamaForCausalLM",
        config=SMALL_LLAMA,
        dtype=torch.bfloat16,
        seed=1,
        quantised=fp8_scaled(compressed_tensors("channel", "token"), "weight_scale", "column"),
        tensors=("model.layers.2.mlp.down_proj.weight_scale",),
    ),
    Family(
        name="mistral_fp8_static",
        architecture="MistralForCausalLM",
        config={name: SMALL_LLAMA[name] for name in SMALL_LLAMA if not name.endswith("_bias")}
        | {"model_type": "mistral", "sliding_window": None},
        dtype=torch.bfloat16,
        seed=1,
        quantised=fp8_scaled(
            {
                "activation_scheme": "static",
                "dequantize": False,
                "modules_to_not_convert": ["lm_head"],
                "quant_method": "fp8",
                "weight_block_size": None,
            },
            "weight_scale_inv",
            "scalar",
            unread="activation_scale",
        ),
        tensors=("model.layers.2.mlp.down_proj.weight_scale_inv", "model.layers.2.mlp.down_proj.activation_scale"),
    ),
)
