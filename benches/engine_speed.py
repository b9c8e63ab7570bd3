"""Puts the engine's speed on a CPU beside llama.cpp's, on the same file and the same machine.

Both are measured in turns, each in a process of its own, and of each the best turn counts: other work on a machine makes a
run slower and never faster. The last lines are the ratios. Needs `llama-cpp-python` and `numpy`; build ours first:

    cargo build --release -p benches --bin engine_speed
    python speed_model.py bf16.gguf
    python engine_speed.py quantise bf16.gguf q8_0.gguf Q8_0
    python engine_speed.py compare ../target/release/engine_speed q8_0.gguf

usage: python engine_speed.py quantise FROM TO TYPE
       python engine_speed.py compare PROGRAM FILE [TURNS]
       python engine_speed.py peer FILE
"""

import os
import re
import subprocess
import sys
import time

PARTS = ("prefill512", "decode1", "decode8")
# As in engine_speed.rs.
PREFILL, ALONE_TOKENS, STREAMS, STREAM_PROMPT, STREAM_TOKENS = 512, 64, 8, 64, 48
TURNS_INSIDE = 3


def quantise(source, target, kind):
    """Has llama.cpp's own quantiser write `target`, every matrix in the one type."""
    import llama_cpp as lc

    settings = lc.llama_model_quantize_default_params()
    settings.ftype = getattr(lc, {"Q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0", "Q4_K": "LLAMA_FTYPE_MOSTLY_Q4_K_S"}[kind])
    settings.pure = True
    if lc.llama_model_quantize(source.encode(), target.encode(), settings) != 0:
        sys.exit(f"llama.cpp does not quantise {source}")


class Peer:
    """llama.cpp with as many threads as there are cores."""

    def __init__(self, path):
        import llama_cpp as lc
        import numpy as np

        self.lc, self.random = lc, np.random.default_rng(1)
        lc.llama_backend_init()
        self.model = lc.llama_model_load_from_file(path.encode(), lc.llama_model_default_params())
        settings = lc.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = 8192, 512, 512, STREAMS
        settings.n_threads = settings.n_threads_batch = len(os.sched_getaffinity(0))
        settings.kv_unified = True
        self.context = lc.llama_init_from_model(self.model, settings)
        self.memory = lc.llama_get_memory(self.context)

    def clear(self):
        self.lc.llama_memory_clear(self.memory, True)

    def step(self, items):
        """One forward pass over (position, sequence, whether logits are wanted), with random tokens."""
        batch = self.lc.llama_batch_init(len(items), 0, 1)
        batch.n_tokens = len(items)
        for i, (position, sequence, wanted) in enumerate(items):
            batch.token[i], batch.pos[i] = int(self.random.integers(16, 30_000)), position
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, sequence, int(wanted)
        failed = self.lc.llama_decode(self.context, batch)
        self.lc.llama_synchronize(self.context)
        self.lc.llama_batch_free(batch)
        assert not failed, failed

    def turn(self):
        self.clear()
        start = time.perf_counter()
        self.step([(i, 0, i == PREFILL - 1) for i in range(PREFILL)])
        prefill = PREFILL / (time.perf_counter() - start)
        start = time.perf_counter()
        for i in range(ALONE_TOKENS):
            self.step([(PREFILL + i, 0, True)])
        alone = ALONE_TOKENS / (time.perf_counter() - start)
        self.clear()
        for sequence in range(STREAMS):
            self.step([(i, sequence, i == STREAM_PROMPT - 1) for i in range(STREAM_PROMPT)])
        start = time.perf_counter()
        for i in range(STREAM_TOKENS):
            self.step([(STREAM_PROMPT + i, sequence, True) for sequence in range(STREAMS)])
        return prefill, alone, STREAMS * STREAM_TOKENS / (time.perf_counter() - start)


def peer(path):
    measured = Peer(path)
    best = [max(part) for part in zip(*(measured.turn() for _ in range(TURNS_INSIDE)))]
    print("llama.cpp", *(f"{name} {rate:.1f}" for name, rate in zip(PARTS, best)), "tok/s")


def compare(program, path, turns):
    sides = {
        "engine": [program, path, "--turns", str(TURNS_INSIDE)],
        "llama.cpp": [sys.executable, __file__, "peer", path],
    }
    best = {name: [0.0] * len(PARTS) for name in sides}
    for turn in range(turns):
        for name, command in sides.items():
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            line = done.stdout.strip().splitlines()[-1]
            rates = [float(re.search(rf"{part} ([0-9.]+)", line)[1]) for part in PARTS]
            best[name] = [max(pair) for pair in zip(best[name], rates)]
            print(f"turn {turn}: {line}", flush=True)
    for name, rates in best.items():
        print(f"best of {name}:", *(f"{part} {rate:.1f}" for part, rate in zip(PARTS, rates)), "tok/s")
    ratios = zip(PARTS, best["engine"], best["llama.cpp"])
    print("ratio:", *(f"{part} {ours / theirs:.2f}" for part, ours, theirs in ratios))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["quantise", source, target, kind]:
            quantise(source, target, kind)
        case ["compare", program, path, *turns]:
            compare(program, path, int(turns[0]) if turns else 5)
        case ["peer", path]:
            peer(path)
        case _:
            sys.exit(__doc__)
