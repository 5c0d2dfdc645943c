"""What a llama-server's command line says about memory.

The result's names are those of llama.cpp's long flags, with underscores: ``ctx_size`` (tokens of the whole context; 0 is
the model's own), ``parallel``, ``kv_unified``, ``n_gpu_layers``, ``batch_size``, ``ubatch_size``, ``cache_type_k``,
``cache_type_v``, ``flash_attn``, ``tensor_split``, ``split_mode``, ``main_gpu``, ``swa_full``, ``kv_offload``,
``n_cpu_moe``, ``embedding``, ``fit``, and the paths ``mmproj``, ``model_draft`` and ``lora``. A flag that is absent or
makes no sense is left out. The last one of a kind wins, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_SHARES = 64
MOST_PATH_CHARACTERS = 4096
ALL_LAYERS = 100_000
"""More than any model has."""


def launch_settings(args: Sequence[str]) -> dict[str, Any]:
    """The settings in a command line; ``--flag value`` and ``--flag=value`` are the same."""
    words = [part for word in args for part in (word.split("=", 1) if word.startswith("--") else [word])]
    found: dict[str, Any] = {}
    for position, word in enumerate(words):
        if word in _SWITCHES:
            name, value = _SWITCHES[word]
            found[name] = value
        elif word in _VALUES and position + 1 < len(words):
            name, read = _VALUES[word]
            value = read(words[position + 1])
            if value is not None:
                found[name] = value
    return found


def _whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        is_number = text.isascii() and text.isdigit() and len(text) < 11
        return int(text) if is_number and least <= int(text) <= most else None

    return read


def _layers(text: str) -> int | None:
    if text.lower() in {"all", "auto", "-1", "-2"}:
        return ALL_LAYERS
    return _whole(0)(text)


def _word(*known: str) -> Callable[[str], str | None]:
    return lambda text: text.lower() if text.lower() in known else None


def _switch(text: str) -> bool | None:
    return {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}.get(text.lower())


def _path(text: str) -> str | None:
    return text if text.startswith("/") and text.isprintable() and len(text) <= MOST_PATH_CHARACTERS else None


def _shares(text: str) -> list[float] | None:
    parts = text.replace("/", ",").split(",")
    try:
        shares = [float(part) for part in parts]
    except ValueError:
        return None
    sensible = len(shares) <= MOST_SHARES and all(0 <= share < 1e9 for share in shares) and sum(shares) > 0
    return shares if sensible else None


_CACHE = _word("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
_VALUES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    flag: (name, read)
    for name, flags, read in (
        ("ctx_size", "--ctx-size -c", _whole(0)),
        ("parallel", "--parallel -np", _whole(1, 1024)),
        ("n_gpu_layers", "--n-gpu-layers --gpu-layers -ngl", _layers),
        ("batch_size", "--batch-size -b", _whole(1)),
        ("ubatch_size", "--ubatch-size -ub", _whole(1)),
        ("cache_type_k", "--cache-type-k -ctk", _CACHE),
        ("cache_type_v", "--cache-type-v -ctv", _CACHE),
        ("flash_attn", "--flash-attn -fa", _switch),
        ("tensor_split", "--tensor-split -ts", _shares),
        ("fit", "--fit -fit", _switch),
        ("split_mode", "--split-mode -sm", _word("none", "layer", "row", "tensor")),
        ("main_gpu", "--main-gpu -mg", _whole(0, 1024)),
        ("n_cpu_moe", "--n-cpu-moe -ncmoe", _whole(0)),
        ("mmproj", "--mmproj -mm", _path),
        ("model_draft", "--model-draft -md --spec-draft-model", _path),
        ("lora", "--lora", _path),
    )
    for flag in flags.split()
}
_SWITCHES: Mapping[str, tuple[str, Any]] = {
    flag: (name, value)
    for name, flags, value in (
        ("kv_unified", "--kv-unified -kvu", True),
        ("kv_unified", "--no-kv-unified -no-kvu", False),
        ("swa_full", "--swa-full", True),
        ("kv_offload", "--no-kv-offload -nkvo", False),
        ("kv_offload", "--kv-offload -kvo", True),
        ("n_cpu_moe", "--cpu-moe -cmoe", ALL_LAYERS),
        ("embedding", "--embedding --embeddings --rerank --reranking", True),
    )
    for flag in flags.split()
}
