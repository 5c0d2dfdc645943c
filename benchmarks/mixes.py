"""The types that ``llama-quantize`` gives to the tensors of a plain transformer, by the name of the mix.

Source: ``llama_tensor_get_type`` in ``src/llama-quant.cpp`` of llama.cpp, for dense models without special cases.
"""

from __future__ import annotations

import re
from dataclasses import replace

from models_app.gguf.header import GgufHeader, TensorInfo
from models_app.gguf.tensor_types import TENSOR_TYPES_BY_NAME

_BASE = {"F16": "F16", "Q8_0": "Q8_0", "Q4_0": "Q4_0", "Q4_K_M": "Q4_K", "Q5_K_M": "Q5_K"}
_FUSED = {"Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}


def requantised(header: GgufHeader, mix: str) -> GgufHeader:
    """The same model in another mix of types."""
    count = 1 + max(int(t.name.split(".")[1]) for t in header.tensors if t.name.startswith("blk."))
    tied = not any(tensor.name == "output.weight" for tensor in header.tensors)
    tensors = tuple(_retyped(tensor, mix, count, tied) for tensor in header.tensors)
    return replace(header, tensors=tensors)


def _retyped(tensor: TensorInfo, mix: str, count: int, tied: bool) -> TensorInfo:
    if len(tensor.shape) < 2 or "_norm" in tensor.name or "ffn_gate_inp" in tensor.name:
        return tensor
    return replace(tensor, type=TENSOR_TYPES_BY_NAME[_type(tensor.name, mix, count, tied)])


def _type(name: str, mix: str, count: int, tied: bool) -> str:
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return mix if mix in ("F16", "Q8_0") else "Q6_K"
    layer = re.match(r"blk\.(\d+)\.", name)
    if layer and mix.endswith("_M") and re.search(r"attn_v\.|ffn_down(_exps)?\.", name):
        return "Q6_K" if _uses_more_bits(int(layer[1]), count) else _BASE[mix]
    if "attn_qkv" in name and mix in _FUSED:
        return _FUSED[mix]
    return _BASE[mix]


def _uses_more_bits(index: int, count: int) -> bool:
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2
