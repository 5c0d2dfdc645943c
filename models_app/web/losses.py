"""What is lost with a row, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {
    "endpoints": "its endpoint{s}",
    "gpus": "its GPU{s} and their figures",
    "installations": "the knowledge of {n} installed model{s}",
    "loaded models": "{n} entr{ies} of models in memory",
    "residencies": "who loaded what, for {n} model{s}",
    "operations": "{n} operation{s} with steps and log",
    "schedules": "{n} schedule{s} of it",
}


def loss_sentences(lost: Mapping[str, int]) -> tuple[str, ...]:
    """What goes with a row, one sentence for each kind that people know."""
    named = [(_WORDS[kind], count) for kind, count in lost.items() if kind in _WORDS]
    return tuple(f"Lost: {_counted(words, count)}." for words, count in named) or ("Nothing else is lost with it.",)


def _counted(words: str, count: int) -> str:
    return words.format(n=count, s="" if count == 1 else "s", ies="y" if count == 1 else "ies")
