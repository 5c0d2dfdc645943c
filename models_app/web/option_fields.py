"""The fields for the options of a load, by their names in the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms

from models_app.estimator.types import CACHE_TYPES

Choices = list[tuple[str, str]]


def number(label: str, placeholder: str) -> forms.CharField:
    """A field for a number; what is none is judged elsewhere."""
    widget = forms.TextInput(attrs={"inputmode": "numeric", "placeholder": placeholder, "autocomplete": "off"})
    return forms.CharField(label=label, required=False, widget=widget)


def pick(label: str, choices: Choices, **attributes: Any) -> forms.CharField:
    """A field with a list to choose from; what is not in the list is judged elsewhere."""
    return forms.CharField(label=label, required=False, widget=forms.Select(choices=choices, attrs=attributes))


def _cache_type(label: str) -> forms.CharField:
    return pick(label, [("", "server's choice"), *((name, name) for name in CACHE_TYPES)])


OPTION_FIELDS: dict[str, Callable[[], forms.Field]] = {
    "context_length": lambda: number("Context, tokens", "server's choice"),
    "keep_alive": lambda: forms.CharField(
        label="Keep-alive",
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "5m, forever", "autocomplete": "off"}),
    ),
    "gpu": lambda: pick("GPU", []),
    "parallel": lambda: number("Parallel slots", "server's choice"),
    "gpu_layers": lambda: number("GPU layers", "all that fit"),
    "batch": lambda: number("Batch, tokens", "server's choice"),
    "cache_type_k": lambda: _cache_type("K cache type"),
    "cache_type_v": lambda: _cache_type("V cache type"),
    "flash_attention": lambda: pick("Flash attention", [("", "auto"), ("on", "on"), ("off", "off")]),
    "kv_offload": lambda: pick("KV cache", [("", "server's choice"), ("on", "on the GPU"), ("off", "in host RAM")]),
    "pinned": lambda: forms.BooleanField(label="Pin: never unloaded to make room", required=False),
}


def requests_field() -> forms.CharField:
    """How often the model is asked: no option of the load, but what a keep-alive is advised from."""
    return number("Requests an hour", "to have a keep-alive advised")


MAIN_OPTIONS = {"context_length", "keep_alive"}
"""Those that are always shown; the others wait behind "More options"."""
OPTION_WORDS = {
    "context_length": "Context",
    "parallel": "Parallel slots",
    "gpu_layers": "GPU layers",
    "gpu": "GPU",
    "batch": "Batch",
    "cache_type_k": "K cache type",
    "cache_type_v": "V cache type",
    "flash_attention": "Flash attention",
    "kv_offload": "KV cache on the GPU",
    "keep_alive_seconds": "Keep-alive",
    "pinned": "Pinned",
}
"""The options in words, by the names of ``LoadOptions``."""
