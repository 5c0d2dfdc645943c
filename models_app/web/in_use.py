"""What speaks against removing an endpoint, and what is lost with it, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Q

from models_app.inventory.models import Endpoint
from models_app.operations.models import Operation

_WORDS = {
    "endpoints": "its endpoint{s}",
    "gpus": "its GPU{s} and their figures",
    "installations": "the knowledge of {n} installed model{s}",
    "loaded models": "{n} entr{ies} of models in memory",
    "residencies": "who loaded what, for {n} model{s}",
    "operations": "{n} operation{s} with steps and log",
}


def in_use(endpoint: Endpoint) -> str:
    """Why an endpoint may not be removed now: an operation works on it. Empty where nothing speaks against it."""
    touches = Q(endpoint=endpoint) | Q(apply_steps__endpoint=endpoint)
    active = Operation.objects.filter(touches, state__in=Operation.ACTIVE).first()
    return f"Operation {active.pk} ({active}) is at work on it." if active else ""


def loss_sentences(lost: Mapping[str, int]) -> tuple[str, ...]:
    """What goes with a row, one sentence for each kind that people know."""
    named = [(_WORDS[kind], count) for kind, count in lost.items() if kind in _WORDS]
    return tuple(f"Lost: {_counted(words, count)}." for words, count in named) or ("Nothing else is lost with it.",)


def _counted(words: str, count: int) -> str:
    return words.format(n=count, s="" if count == 1 else "s", ies="y" if count == 1 else "ies")
