"""Writes a random Qwen3-MoE as one GGUF file in bf16: what `engine_speed.py` measures.

About 1.3 billion parameters of which 0.2 billion are active: large enough that a small machine is bound by its
memory when it writes one token, and by its arithmetic when it reads a prompt. Needs `numpy` and `gguf`.

usage: python speed_model.py FILE
"""

import sys

import gguf
import numpy as np

WIDTH, LAYERS, VOCABULARY = 1024, 16, 32_000
HEADS, KEY_HEADS, HEAD_DIM = 16, 4, 64
EXPERTS, EXPERTS_USED, INNER = 32, 4, 768
CONTEXT = 8192


def bf16(values):
    """The upper halves of float32, rounded to even, as bytes."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).view(np.uint8)


class Model:
    """A GGUF file that is filled with random tensors."""

    def __init__(self, path):
        self.random = np.random.default_rng(11)
        self.file = gguf.GGUFWriter(path, "qwen3moe")

    def header(self):
        f = self.file
        f.add_name("random")
        f.add_context_length(CONTEXT)
        f.add_embedding_length(WIDTH)
        f.add_block_count(LAYERS)
        f.add_feed_forward_length(INNER)
        f.add_head_count(HEADS)
        f.add_head_count_kv(KEY_HEADS)
        f.add_key_length(HEAD_DIM)
        f.add_value_length(HEAD_DIM)
        f.add_rope_freq_base(1e6)
        f.add_layer_norm_rms_eps(1e-6)
        f.add_expert_count(EXPERTS)
        f.add_expert_used_count(EXPERTS_USED)
        f.add_expert_feed_forward_length(INNER)
        f.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
        f.add_tokenizer_model("gpt2")
        f.add_tokenizer_pre("qwen2")
        # The parts and the result of the one merge have to be tokens.
        f.add_token_list([f"t{i}" for i in range(VOCABULARY - 2)] + ["t", "0"])
        f.add_token_types([1] * VOCABULARY)
        f.add_token_merges(["t 0"])
        f.add_bos_token_id(0)
        f.add_eos_token_id(1)
        f.add_chat_template("{% for message in messages %}{{ message['content'] }} {% endfor %}")

    def matrix(self, name, *shape, spread=0.03):
        values = self.random.standard_normal(shape, dtype=np.float32) * np.float32(spread)
        self.file.add_tensor(name + ".weight", bf16(values), raw_dtype=gguf.GGMLQuantizationType.BF16)

    def ones(self, name, length):
        self.file.add_tensor(name + ".weight", np.ones(length, np.float32))

    def layer(self, number):
        name = f"blk.{number}.".__add__
        self.ones(name("attn_norm"), WIDTH)
        self.matrix(name("attn_q"), HEADS * HEAD_DIM, WIDTH)
        self.matrix(name("attn_k"), KEY_HEADS * HEAD_DIM, WIDTH)
        self.matrix(name("attn_v"), KEY_HEADS * HEAD_DIM, WIDTH)
        self.matrix(name("attn_output"), WIDTH, HEADS * HEAD_DIM)
        self.ones(name("attn_q_norm"), HEAD_DIM)
        self.ones(name("attn_k_norm"), HEAD_DIM)
        self.ones(name("ffn_norm"), WIDTH)
        router = self.random.standard_normal((EXPERTS, WIDTH), dtype=np.float32) * np.float32(0.1)
        self.file.add_tensor(name("ffn_gate_inp") + ".weight", router)
        self.matrix(name("ffn_gate_exps"), EXPERTS, INNER, WIDTH)
        self.matrix(name("ffn_up_exps"), EXPERTS, INNER, WIDTH)
        self.matrix(name("ffn_down_exps"), EXPERTS, WIDTH, INNER)

    def write(self):
        self.header()
        self.matrix("token_embd", VOCABULARY, WIDTH)
        self.matrix("output", VOCABULARY, WIDTH)
        self.ones("output_norm", WIDTH)
        for number in range(LAYERS):
            self.layer(number)
        self.file.write_header_to_file()
        self.file.write_kv_data_to_file()
        self.file.write_tensors_to_file()
        self.file.close()


if __name__ == "__main__":
    Model(sys.argv[1]).write()
