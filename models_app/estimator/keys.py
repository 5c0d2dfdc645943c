"""Typed and bounded access to the metadata of one architecture."""

from __future__ import annotations

from collections.abc import Mapping

from models_app.estimator.types import EstimateError
from models_app.gguf.header import SkippedArray, Value

_LARGEST_NUMBER = 2**40


class UnsupportedModel(EstimateError):
    """The header describes no language model that llama.cpp could load."""


class Keys:
    """Access to ``{architecture}.*``. Raises ``UnsupportedModel`` for numbers that no model has."""

    def __init__(self, name: str, metadata: Mapping[str, Value]) -> None:
        self._name, self._metadata = name, metadata

    def value(self, key: str) -> Value | None:
        """The value as the header has it."""
        return self._metadata.get(f"{self._name}.{key}")

    def whole(self, key: str, default: int = 0) -> int:
        """A number, or the first that is not zero where the header lists one for each layer."""
        value = self.value(key)
        if isinstance(value, tuple):
            value = next((item for item in value if item), default)
        return default if value is None or isinstance(value, str | SkippedArray) else self._checked(key, value)

    def per_layer(self, key: str, count: int, default: int = 0) -> list[int]:
        """One number for each of ``count`` layers."""
        value = self.value(key)
        if isinstance(value, tuple):
            numbers = [self._checked(key, item) for item in value[:count]]
            return numbers + [default] * (count - len(numbers))
        return [self.whole(key, default)] * count

    def _checked(self, key: str, value: int | float | bool) -> int:
        if not 0 <= value <= _LARGEST_NUMBER:
            raise UnsupportedModel(f"{self._name}.{key} is {value}, which is impossible.")
        return int(value)
