"""How each field of a demand's document is read. A reader raises ``ValueError`` with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

MOST_REPLICAS, MOST_SLOTS = 64, 1024
MOST_CONTEXT = 100_000_000
MOST_WAIT_SECONDS = 24 * 3600
MOST_LISTED, MOST_CHARACTERS = 64, 255
_NAME = re.compile(r"[\w][\w .:/+@-]{0,79}")


def _text(what: str, most: int = MOST_CHARACTERS) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if not text:
            raise ValueError(f"Give {what}.")
        if len(text) > most or not text.isprintable():
            raise ValueError(f"At most {most} printable characters.")
        return text

    return read


def _name(value: object) -> str:
    text = _text("the demand a name")(value)
    if not _NAME.fullmatch(text):
        raise ValueError(
            "A name has at most 80 letters, digits, spaces and . : / + @ - _ and begins with a letter or digit."
        )
    return text


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError("Give a list.")
    listed = [_text("a word in every place of the list")(each) for each in value]
    if len(listed) > MOST_LISTED:
        raise ValueError(f"A list has at most {MOST_LISTED} entries.")
    return tuple(dict.fromkeys(listed))


def _whole(what: str, least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        text = str(value).strip()
        if isinstance(value, bool | float) or not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ValueError(f"{what} is a whole number.")
        if not least <= int(text) <= most:
            raise ValueError(f"{what} is from {least:,} to {most:,}, not {int(text):,}.")
        return int(text)

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Say true or false.")
    return value


def _scope(value: object) -> str:
    if value not in ("host", "gpu"):
        raise ValueError("Say host or gpu.")
    return str(value)


READERS: dict[str, Callable[[object], Any]] = {
    "name": _name,
    "model": _text("a model: a family or a variant's name"),
    "variants": _texts,
    "context_length": _whole("The context", 1, MOST_CONTEXT),
    "least_context_length": _whole("The least context", 1, MOST_CONTEXT),
    "slots": _whole("The number of slots", 1, MOST_SLOTS),
    "tags": _texts,
    "priority": _whole("The priority", 1, 5),
    "replicas": _whole("The number of replicas", 1, MOST_REPLICAS),
    "on_demand": _flag,
    "tolerated_wait_seconds": _whole("The wait", 0, MOST_WAIT_SECONDS),
    "gpu_only": _flag,
    "hosts": _texts,
    "gpus": _texts,
    "pinned_gpus": _texts,
    "together_with": _texts,
    "together_on": _scope,
    "apart_from": _texts,
    "apart_on": _scope,
}
