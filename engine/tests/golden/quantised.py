"""Weights in fewer bits than 16, as the hub stores them: what a row of the table may ask for.

Each way writes a checkpoint of full precision anew, and reads what it wrote back to float32. make.py
computes the reference from what is read back, so a fixture says nothing of the error of quantising:
an engine that dequantises exactly agrees to the usual tolerance.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

# The values of E2M1, the 4-bit float of MXFP4, by their 4 bits.
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
# Elements of an MXFP4 block, which share one scale.
MX_BLOCK = 32
MX_BIAS = 127


@dataclass(frozen=True)
class Quantised:
    # What config.json says of it.
    config: dict
    # A pattern of the weights' names in the hub's layout, up to where the names of the parts differ.
    weights: str
    # What ends the name of an unquantised weight.
    ending: str
    # What takes its place in the names of what is stored, and in what precision that is.
    parts: dict[str, torch.dtype]
    # From a weight in float32, its parts.
    store: Callable[[Tensor], dict[str, Tensor]]
    # From its parts, the weight in float32.
    read: Callable[[dict[str, Tensor]], Tensor]
    # The part that `read` does without.
    unread: str | None = None

    def stem(self, name: str, ending: str) -> str | None:
        """The name without the ending, if it has it and is that of a quantised weight."""
        stem = name.removesuffix(ending)
        return stem if stem + ending == name and re.search(self.weights + "$", stem) else None

    def dtype(self, name: str) -> torch.dtype | None:
        """In what precision a tensor of this name is stored, None if it is not quantised."""
        return next((dtype for ending, dtype in self.parts.items() if self.stem(name, ending) is not None), None)

    def scales(self) -> list[str]:
        """The parts that are not the elements themselves and yet are read."""
        return [part for part in list(self.parts)[1:] if part != self.unread]

    def quantise(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        stored: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            stem = self.stem(name, self.ending)
            if stem is None:
                stored[name] = tensor
            else:
                stored |= {stem + part: made.contiguous() for part, made in self.store(tensor.float()).items()}
        return stored

    def dequantise(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors = {name: tensor.float() for name, tensor in stored.items() if self.dtype(name) is None}
        first = next(iter(self.parts))
        for stem in filter(None, (self.stem(name, first) for name in stored)):
            tensors[stem + self.ending] = self.read({part: stored[stem + part] for part in self.parts})
        return tensors


# --- MXFP4, as gpt-oss has it ------------------------------------------------------------------------


def mxfp4_store(weight: Tensor) -> dict[str, Tensor]:
    """[E, in, out] as blocks [E, out, in / 32, 16], two elements to the byte, and scales [E, out, in / 32]."""
    blocks = weight.transpose(1, 2).unflatten(-1, (-1, MX_BLOCK))
    # The smallest power of two that keeps the block's largest element within 6.
    scales = (blocks.abs().amax(dim=-1) / 6).log2().ceil()
    nearest = (blocks / scales.exp2()[..., None])[..., None].sub(E2M1).abs().argmin(dim=-1).to(torch.uint8)
    return {
        "_blocks": nearest[..., 0::2] | nearest[..., 1::2] << 4,
        "_scales": (scales + MX_BIAS).to(torch.uint8),
    }


def mxfp4_read(stored: dict[str, Tensor]) -> Tensor:
    blocks, scales = stored["_blocks"].int(), stored["_scales"].float() - MX_BIAS
    elements = E2M1[torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2)] * scales.exp2()[..., None]
    return elements.flatten(-2).transpose(1, 2).contiguous()


MXFP4 = Quantised(
    config={
        "modules_to_not_convert": [
            "model.layers.*.self_attn",
            "model.layers.*.mlp.router",
            "model.embed_tokens",
            "lm_head",
        ],
        "quant_method": "mxfp4",
    },
    weights=r"experts\.(gate_up|down)_proj",
    ending="",
    parts={"_blocks": torch.uint8, "_scales": torch.uint8},
    store=mxfp4_store,
    read=mxfp4_read,
)


# --- FP8 ---------------------------------------------------------------------------------------------

E4M3 = torch.float8_e4m3fn
E4M3_MAX = 448.0
# Attention and feed-forward, but no router, norm, embedding or head.
PROJECTIONS = r"_proj(_with_mqa)?\."


def spread(scales: Tensor, rows: int, columns: int, weight: Tensor) -> Tensor:
    """Each block's scale at each of its elements. The last blocks may reach beyond the weight."""
    whole = scales.float().repeat_interleave(rows, dim=0).repeat_interleave(columns, dim=1)
    return whole[: weight.shape[0], : weight.shape[1]]


def fp8_blocks(
    rows: int,
    columns: int,
    scales_dtype: torch.dtype = torch.float32,
    weights: str = PROJECTIONS,
    **config: object,
) -> Quantised:
    """A scale for each block of so many outputs and inputs, as DeepSeek V3 and Qwen3 have it with 128 of each."""

    def store(weight: Tensor) -> dict[str, Tensor]:
        beyond = (0, -weight.shape[1] % columns, 0, -weight.shape[0] % rows)
        blocks = nn.functional.pad(weight, beyond).unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
        scales = (blocks.abs().amax(dim=(1, 3)) / E4M3_MAX).to(scales_dtype)
        return {"weight": (weight / spread(scales, rows, columns, weight)).to(E4M3), "weight_scale_inv": scales}

    def read(parts: dict[str, Tensor]) -> Tensor:
        weight = parts["weight"].float()
        return weight * spread(parts["weight_scale_inv"], rows, columns, weight)

    return Quantised(
        config={
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [rows, columns],
        }
        | config,
        weights=weights,
        ending="weight",
        parts={"weight": E4M3, "weight_scale_inv": scales_dtype},
        store=store,
        read=read,
    )


def fp8_scaled(
    config: dict,
    scale: str,
    granularity: Literal["scalar", "vector of one", "column"],
    unread: str | None = None,
) -> Quantised:
    """One bf16 scale for a weight [] or [1], or one for each output [out, 1]; and `unread`, one for its inputs."""

    def store(weight: Tensor) -> dict[str, Tensor]:
        largest = weight.abs().amax(dim=1, keepdim=True) if granularity == "column" else weight.abs().amax()
        scales = (largest / E4M3_MAX).bfloat16()
        if granularity == "vector of one":
            scales = scales[None]
        # Of no use to who computes in more bits than 8.
        parts = {unread: torch.full_like(scales, 1 / 32)} if unread else {}
        return {"weight": (weight / scales.float()).to(E4M3), scale: scales} | parts

    return Quantised(
        config=config,
        weights=PROJECTIONS,
        ending="weight",
        parts={"weight": E4M3, scale: torch.bfloat16} | ({unread: torch.bfloat16} if unread else {}),
        unread=unread,
        store=store,
        read=lambda parts: parts["weight"].float() * parts[scale].float(),
    )


def compressed_tensors(weights: str, activations: str) -> dict:
    """What llm-compressor writes, but for fields that are null."""
    common = {"num_bits": 8, "symmetric": True, "type": "float"}
    dynamic = activations == "token"
    return {
        "config_groups": {
            "group_0": {
                "input_activations": common | {"dynamic": dynamic, "strategy": activations},
                "output_activations": None,
                "targets": ["Linear"],
                "weights": common | {"dynamic": False, "observer": "minmax", "strategy": weights},
            }
        },
        "format": "float-quantized",
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    }
