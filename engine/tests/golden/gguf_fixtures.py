#!/usr/bin/env python3
"""Makes the GGUF fixtures: the hub's checkpoints converted, every block type, and vocabularies.

    gguf_fixtures.py                every fixture
    gguf_fixtures.py gguf_llama     only these

Needs torch, transformers, safetensors, tokenizers and gguf. A converted checkpoint has the numbers of the
fixture that it is made from, so that one's `ref.safetensors` is its reference too. What a converter does to
names, shapes and rows is written here once more, after the conversions of llama.cpp: a mistake that this file
and the engine have in common would show as soon as a published file is loaded, not before.
"""

import argparse
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter
from gguf_vocabularies import make_vocabularies, write_letters
from safetensors.torch import load_file, save_file
from torch import Tensor

GOLDEN = Path(__file__).parent
FOLDER_BYTES_MAX = 400_000
SHARD_BYTES_MAX = 120_000

Tensors = dict[str, Tensor]


# --- From the hub's names to llama.cpp's ---------------------------------------------------------------


def permuted(weight: Tensor, heads: int) -> Tensor:
    """The rows of each head as llama.cpp's rope wants them: halves become neighbours."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def llama3_factors(config: dict) -> Tensor:
    """What llama3's scaling divides each frequency by."""
    scaling, dim = config["rope_scaling"], config["head_dim"]
    plain = config["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    wavelength = 2 * math.pi / plain
    original, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = ((original / wavelength - low) / (high - low)).clamp(0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).float()


def experts(tensors: Tensors, prefix: str, name: str, count: int) -> Tensor:
    return torch.stack([tensors.pop(f"{prefix}.{expert}.{name}.weight") for expert in range(count)])


LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "block_sparse_moe.gate.weight": "ffn_gate_inp.weight",
    "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight",
    "self_attn.q_a_proj.weight": "attn_q_a.weight",
    "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.q_b_proj.weight": "attn_q_b.weight",
    "self_attn.sinks": "attn_sinks.weight",
    "mlp.router.weight": "ffn_gate_inp.weight",
    "mlp.router.bias": "ffn_gate_inp.bias",
    "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
} | {
    f"{hub}.{kind}": f"{ggml}.{kind}"
    for kind in ("weight", "bias")
    for hub, ggml in {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
        "mlp.shared_experts.up_proj": "ffn_up_shexp",
        "mlp.shared_experts.down_proj": "ffn_down_shexp",
    }.items()
}
TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def layer_tensors(source: "Source", config: dict, tensors: Tensors, layer: int) -> Tensors:
    """One layer's tensors under llama.cpp's names."""
    hub, found = f"model.layers.{layer}.", {}
    for module, names in {
        "mlp.experts": ("gate_proj", "up_proj", "down_proj"),
        "block_sparse_moe.experts": ("w1", "w3", "w2"),
    }.items():
        if f"{hub}{module}.0.{names[0]}.weight" in tensors:
            count = config.get("num_experts") or config.get("num_local_experts") or config["n_routed_experts"]
            for name, ggml in zip(names, ("gate", "up", "down"), strict=True):
                found[f"ffn_{ggml}_exps.weight"] = experts(tensors, hub + module, name, count)
    for name in [name for name in tensors if name.startswith(hub)]:
        tensor, rest = tensors.pop(name), name.removeprefix(hub)
        if rest in ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"):
            # In full precision the hub has these by columns.
            tensor, rest = tensor.transpose(1, 2), rest + ".weight"
        if source.permute and rest in ("self_attn.q_proj.weight", "self_attn.k_proj.weight"):
            heads = "num_attention_heads" if "q_proj" in rest else "num_key_value_heads"
            tensor = permuted(tensor, config[heads])
        if rest == "self_attn.kv_b_proj.weight":
            if source.split_kv_b:
                heads = tensor.unflatten(0, (config["num_attention_heads"], -1))
                keys, values = heads.split([config["qk_nope_head_dim"], config["v_head_dim"]], dim=1)
                found |= {"attn_k_b.weight": keys.transpose(1, 2), "attn_v_b.weight": values}
            else:
                found["attn_kv_b.weight"] = tensor
        elif rest == "mlp.experts.gate_up_proj_bias":
            found |= {"ffn_gate_exps.bias": tensor[:, 0::2], "ffn_up_exps.bias": tensor[:, 1::2]}
        elif rest.startswith("mlp.experts.gate_up_proj"):
            part = rest.removeprefix("mlp.experts.gate_up_proj")
            found |= {f"ffn_gate_exps{part}": tensor[:, 0::2], f"ffn_up_exps{part}": tensor[:, 1::2]}
        elif rest.startswith("mlp.experts.down_proj") and not rest.endswith("bias"):
            found["ffn_down_exps" + rest.removeprefix("mlp.experts.down_proj")] = tensor
        else:
            ggml = LAYER[rest]
            found["post_attention_norm.weight" if source.arch == "gpt-oss" and ggml == "ffn_norm.weight" else ggml] = tensor
    return {f"blk.{layer}.{name}": tensor for name, tensor in found.items()}


def ggml_mxfp4(blocks: Tensor, scales: Tensor) -> np.ndarray:
    """The hub's MXFP4 in ggml's order: the scale first, then element i and i + 16 in byte i."""
    codes = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2)
    low, high = codes.split(16, dim=-1)
    return torch.cat([scales[..., None], low | high << 4], dim=-1).flatten(-2).numpy()


# --- Metadata --------------------------------------------------------------------------------------------


def write_metadata(writer: GGUFWriter, source: "Source", config: dict) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(1 if source.split_kv_b else config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if source.arch == "deepseek2":
        write_latent(writer, source, config)
    else:
        writer.add_rope_dimension_count(dim)
        if config.get("head_dim"):
            writer.add_key_length(dim)
            writer.add_value_length(dim)
    if config.get("sliding_window") and source.arch in ("llama", "gpt-oss"):
        writer.add_sliding_window(config["sliding_window"])
    count = config.get("num_experts") or config.get("num_local_experts") or config.get("n_routed_experts")
    if count:
        writer.add_expert_count(count)
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if inner := config.get("moe_intermediate_size"):
        writer.add_expert_feed_forward_length(inner)
    if source.arch == "gpt-oss":
        writer.add_expert_feed_forward_length(config["intermediate_size"])
        # Files of the published models leave out their limit of 7.
        writer.add_swiglu_clamp_exp([config["swiglu_limit"]] * config["num_hidden_layers"])
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type", scaling.get("type")) == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(scaling.get("beta_fast", 32))
        writer.add_rope_scaling_yarn_beta_slow(scaling.get("beta_slow", 1))
        if "mscale_all_dim" in scaling:
            writer.add_rope_scaling_yarn_log_mul(0.1 * scaling["mscale_all_dim"])


def write_latent(writer: GGUFWriter, source: "Source", config: dict) -> None:
    nope, rope, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    latent = config["kv_lora_rank"]
    writer.add_rope_dimension_count(rope)
    writer.add_kv_lora_rank(latent)
    if config.get("q_lora_rank"):
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_key_length(latent + rope if source.split_kv_b else nope + rope)
    writer.add_value_length(latent if source.split_kv_b else value)
    if source.split_kv_b:
        writer.add_key_length_mla(nope + rope)
        writer.add_value_length_mla(value)
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    writer.add_expert_weights_norm(config["norm_topk_prob"])
    if config.get("scoring_func") == "sigmoid":
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if config.get("n_group"):
        writer.add_expert_group_count(config["n_group"])
        writer.add_expert_group_used_count(config["topk_group"])


# --- Files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A fixture of the hub's kind and how it becomes a GGUF."""

    name: str
    arch: str
    # llama.cpp turns the rows of queries and keys for its rope in the llama architecture only.
    permute: bool = False
    # Latent attention's expansion in two tensors, as newer files have it.
    split_kv_b: bool = False
    # Files to cut the model into.
    shards: bool = False


SOURCES = (
    Source("llama", "llama", permute=True),
    Source("mixtral", "llama", permute=True, shards=True),
    Source("qwen2", "qwen2"),
    Source("qwen3", "qwen3"),
    Source("qwen3_moe", "qwen3moe"),
    Source("deepseek_v2_lite", "deepseek2"),
    Source("deepseek_v3", "deepseek2", split_kv_b=True),
    Source("gpt_oss", "gpt-oss"),
    Source("gpt_oss_mxfp4", "gpt-oss"),
)


def add_tensor(writer: GGUFWriter, name: str, tensor: Tensor) -> None:
    """Matrices in their own precision, everything else in f32."""
    if tensor.dim() == 1 or "exps.bias" in name or "_inp." in name:
        tensor = tensor.float()
    if tensor.dtype == torch.bfloat16:
        data = tensor.contiguous().view(torch.uint16).numpy().view(np.uint8)
        writer.add_tensor(name, data, raw_dtype=Kind.BF16)
    else:
        writer.add_tensor(name, tensor.contiguous().numpy())


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(source: Source, folder: Path) -> None:
    config = json.loads((GOLDEN / source.name / "config.json").read_text())
    config |= {key: value for key, value in config.get("rope_parameters", {}).items() if key == "rope_theta"}
    if "rope_parameters" in config:
        config["rope_scaling"] = config["rope_parameters"]
    tensors: Tensors = {}
    for path in sorted((GOLDEN / source.name).glob("model*.safetensors")):
        tensors |= load_file(path)
    writer = GGUFWriter(
        folder / "model.gguf", source.arch, split_max_size=SHARD_BYTES_MAX if source.shards else 0
    )
    write_metadata(writer, source, config)
    if source.name == "qwen3":
        # One file that is a whole model, so that it can be served.
        write_letters(writer, config["vocab_size"])
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type") == "llama3":
        add_tensor(writer, "rope_freqs.weight", llama3_factors(config))
    for hub, ggml in TOP.items():
        if hub in tensors:
            add_tensor(writer, ggml, tensors.pop(hub))
    for layer in range(config["num_hidden_layers"]):
        found = layer_tensors(source, config, tensors, layer)
        for name in [name for name in found if name.endswith("_blocks")]:
            stem = name.removesuffix("_blocks")
            data = ggml_mxfp4(found.pop(name), found.pop(stem + "_scales"))
            writer.add_tensor(stem + ".weight", data, raw_dtype=Kind.MXFP4)
        for name, tensor in found.items():
            add_tensor(writer, name, tensor)
    assert not tensors, f"{source.name}: {sorted(tensors)} have no name in llama.cpp"
    finish(writer)


# --- Every block type ------------------------------------------------------------------------------------

WIDTH, INNER, VOCABULARY, HEADS, KEY_HEADS, HEAD_DIM = 256, 64, 61, 4, 1, 16
# Of each layer: queries, keys and values; the output projection; gate and up; down. The first and third have
# rows of 256, which the K types need; in the last layer the values have another type than queries and keys.
TYPES: tuple[tuple[Kind, Kind, Kind, Kind], ...] = (
    (Kind.Q2_K, Kind.Q4_0, Kind.Q3_K, Kind.Q4_1),
    (Kind.Q4_K, Kind.Q5_0, Kind.Q5_K, Kind.Q5_1),
    (Kind.Q6_K, Kind.Q8_0, Kind.Q4_K, Kind.MXFP4),
)
VALUE_TYPES = (None, None, Kind.Q5_K)
# Where a block keeps its half-precision scales, in bytes.
SCALES = {
    Kind.Q2_K: (80, 82),
    Kind.Q3_K: (108,),
    Kind.Q4_K: (0, 2),
    Kind.Q5_K: (0, 2),
    Kind.Q6_K: (208,),
    Kind.Q4_0: (0,),
    Kind.Q4_1: (0, 2),
    Kind.Q5_0: (0,),
    Kind.Q5_1: (0, 2),
    Kind.Q8_0: (0,),
}


def drawn_blocks(kind: Kind, rows: int, width: int, deviation: float, draw: np.random.Generator) -> np.ndarray:
    """Random blocks, every bit of their codes and small scales, that decode to numbers of a given deviation."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = draw.integers(0, 256, (rows, width // elements, size), dtype=np.uint8)

    def scaled(scale: float) -> np.ndarray:
        if kind == Kind.MXFP4:
            blocks[..., 0] = round(127 + math.log2(scale)) + blocks[..., 0] % 3 - 1
        for i, at in enumerate(SCALES.get(kind, ())):
            # The second scale is that of the minimum, which is subtracted (in the K types) or added.
            sign = -0.5 if i == 1 and kind in (Kind.Q4_1, Kind.Q5_1) else 1.0
            halves = np.full(blocks.shape[:2], sign * scale * (8 if i == 1 and sign < 0 else 1), dtype=np.float16)
            blocks[..., at : at + 2] = halves[..., None].view(np.uint8)
        return gguf.quants.dequantize(blocks.reshape(rows, -1), kind)

    unit = 1.0 if kind == Kind.MXFP4 else 2.0**-6
    scaled(unit * deviation / scaled(unit).std())
    return blocks.reshape(rows, -1)


def types_fixture(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    draw, state = np.random.default_rng(11), {}
    writer = GGUFWriter(folder / "model.gguf", "llama")
    config = {
        "head_dim": HEAD_DIM,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "max_position_embeddings": 128,
        "num_attention_heads": HEADS,
        "num_hidden_layers": len(TYPES),
        "num_key_value_heads": KEY_HEADS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": False,
    }
    write_metadata(writer, Source("", "llama"), config)

    def dense(ggml: str, hub: str, values: np.ndarray, dtype: np.dtype = np.float32) -> None:
        values = values.astype(dtype)
        state[hub] = torch.from_numpy(values.astype(np.float32))
        writer.add_tensor(ggml, values)

    def blocks(ggml: str, hub: str, kind: Kind, rows: int, width: int, heads: int = 0, size: float = 1.0) -> None:
        data = drawn_blocks(kind, rows, width, size / math.sqrt(width), draw)
        writer.add_tensor(ggml, data, raw_dtype=kind)
        decoded = torch.from_numpy(gguf.quants.dequantize(data, kind))
        # Back from llama.cpp's order: neighbours become halves.
        state[hub] = decoded.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2) if heads else decoded

    norm = lambda: 1 + 0.1 * draw.standard_normal(WIDTH)  # noqa: E731
    dense("token_embd.weight", "model.embed_tokens.weight", draw.standard_normal((VOCABULARY, WIDTH)) * 0.1, np.float16)
    dense("output.weight", "lm_head.weight", 2 * draw.standard_normal((VOCABULARY, WIDTH)) / math.sqrt(WIDTH), np.float16)
    dense("output_norm.weight", "model.norm.weight", norm())
    for i, (qkv, output, gate_up, down) in enumerate(TYPES):
        ggml, hub = f"blk.{i}.", f"model.layers.{i}."
        dense(ggml + "attn_norm.weight", hub + "input_layernorm.weight", norm())
        dense(ggml + "ffn_norm.weight", hub + "post_attention_layernorm.weight", norm())
        q, k, attention = HEADS * HEAD_DIM, KEY_HEADS * HEAD_DIM, hub + "self_attn."
        blocks(ggml + "attn_q.weight", attention + "q_proj.weight", qkv, q, WIDTH, HEADS, 1.5)
        blocks(ggml + "attn_k.weight", attention + "k_proj.weight", qkv, k, WIDTH, KEY_HEADS, 1.5)
        blocks(ggml + "attn_v.weight", attention + "v_proj.weight", VALUE_TYPES[i] or qkv, k, WIDTH)
        blocks(ggml + "attn_output.weight", attention + "o_proj.weight", output, WIDTH, q)
        blocks(ggml + "ffn_gate.weight", hub + "mlp.gate_proj.weight", gate_up, INNER, WIDTH)
        blocks(ggml + "ffn_up.weight", hub + "mlp.up_proj.weight", gate_up, INNER, WIDTH)
        blocks(ggml + "ffn_down.weight", hub + "mlp.down_proj.weight", down, WIDTH, INNER)
    finish(writer)

    model = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="eager")).eval()
    model.load_state_dict(state, strict=False)
    save_file(reference(model, VOCABULARY, draw), folder / "ref.safetensors")


@torch.no_grad()
def reference(model: torch.nn.Module, vocabulary: int, draw: np.random.Generator) -> Tensors:
    """As make.py computes it, for fewer prompts."""
    logits = lambda tokens: model(tokens[None], use_cache=False).logits[0]  # noqa: E731
    ref: Tensors = {}
    for i, length in enumerate((1, 7, 33)):
        prompt = torch.from_numpy(draw.integers(4, vocabulary, length))
        tokens = prompt
        for _ in range(32):
            (best, second), ranked = logits(tokens)[-1].topk(2)
            assert best - second > 2e-3, f"prompt {i}: two tokens are nearly alike"
            tokens = torch.cat([tokens, ranked[:1]])
        ref |= {f"prompt.{i}": prompt, f"logits.{i}": logits(prompt), f"greedy.{i}": tokens[length:]}
    return ref


# --- Command line ----------------------------------------------------------------------------------------


def fixtures() -> dict[str, Callable[[Path], None]]:
    converted = {
        f"gguf_{source.name}": lambda folder, source=source: convert(source, folder)
        for source in SOURCES
        if (GOLDEN / source.name).is_dir()
    }
    return converted | {"gguf_types": types_fixture, "gguf_vocabulary": make_vocabularies}


def main() -> None:
    known = fixtures()
    parser = argparse.ArgumentParser(description="Makes the GGUF fixtures.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="one of: " + ", ".join(known))
    names = parser.parse_args().names or list(known)
    if unknown := set(names) - known.keys():
        parser.error(f"no such fixture: {', '.join(sorted(unknown))}")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            known[name](Path(scratch))
            sizes = [path.stat().st_size for path in Path(scratch).iterdir()]
            assert sum(sizes) <= FOLDER_BYTES_MAX, f"{name}: {sum(sizes)} bytes"
            shutil.rmtree(GOLDEN / name, ignore_errors=True)
            shutil.copytree(scratch, GOLDEN / name, copy_function=shutil.copyfile)
        print(f"{name}: {sum(sizes)} bytes in {len(sizes)} files")


if __name__ == "__main__":
    main()
