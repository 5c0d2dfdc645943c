"""Thrash: models that push each other out again and again, or one that is reloaded for every change of its context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Action, Figure, Limits, Page, Reading, Rule, Severity, Unit, lasting
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.stays import Stay
from models_app.alerts.rules.subjects import of_endpoint

WINDOW = timedelta(minutes=10)


def _look(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del limits
    by_endpoint = past.stays_by_endpoint()
    for host, endpoint in facts.endpoints():
        stays = [
            stay for stay in by_endpoint.get(endpoint.id, ()) if stay.ended_at is None or facts.at - stay.ended_at <= WINDOW
        ]
        returns = _returns(stays)
        value = len(returns) if endpoint.is_online else None
        if not returns:
            yield Reading(of_endpoint(host, endpoint), value)
            continue
        yield Reading(
            of_endpoint(host, endpoint),
            value,
            _sentence(returns, stays),
            _figures(returns, stays),
            _advice(returns, stays),
            _action(returns, stays),
        )


def _returns(stays: Sequence[Stay]) -> list[Stay]:
    """The stays of a model that had been in memory before; what Berth was asked for does not count."""
    ordered = sorted(stays, key=lambda stay: stay.began_at)
    seen: set[str] = set()
    returns = []
    for stay in ordered:
        if stay.model in seen and not stay.is_asked:
            returns.append(stay)
        seen.add(stay.model)
    return returns


def _contexts(returns: Sequence[Stay], stays: Sequence[Stay]) -> list[int]:
    """The contexts of the one model that came back, the largest first; none where several did."""
    names = {stay.model for stay in returns}
    if len(names) != 1:
        return []
    found = {stay.context_length for stay in stays if stay.model in names and stay.context_length}
    return sorted(found, reverse=True) if len(found) > 1 else []


def _sentence(returns: Sequence[Stay], stays: Sequence[Stay]) -> str:
    within = f"within {lasting(WINDOW.total_seconds())}"
    contexts = _contexts(returns, stays)
    if contexts:
        sizes = " and ".join(map(str, contexts))
        return f"{returns[0].model} was reloaded {len(returns)} times {within}, with contexts of {sizes} in turn."
    counts = Counter(stay.model for stay in returns)
    names = ", ".join(f"{name} {count}×" for name, count in counts.most_common(4))
    return f"Models push each other out: loaded again {within}: {names}."


def _figures(returns: Sequence[Stay], stays: Sequence[Stay]) -> tuple[Figure, ...]:
    largest = max((stay.total_bytes for stay in stays), default=0)
    contexts = tuple(Figure("Context", tokens, Unit.TOKENS) for tokens in _contexts(returns, stays))
    counts = Counter(stay.model for stay in returns)
    again = tuple(Figure(f"{name} loaded again", count, Unit.TIMES) for name, count in counts.most_common(4))
    return (*again, *contexts, Figure("Read for the largest each time", largest, Unit.BYTES))


def _advice(returns: Sequence[Stay], stays: Sequence[Stay]) -> str:
    if _contexts(returns, stays):
        return "Clients ask for different num_ctx, and each change reloads. Give all of them the same one, the largest."
    return "They do not fit beside each other. Serve one of them elsewhere, or each with a smaller context."


def _action(returns: Sequence[Stay], stays: Sequence[Stay]) -> Action:
    name = Counter(stay.model for stay in returns).most_common(1)[0][0]
    contexts = _contexts(returns, stays)
    if contexts:
        fields = {"endpoint": str(returns[0].endpoint_id), "model": name, "context_length": str(contexts[0])}
        return Action(f"Load {name} with a context of {contexts[0]}", Page.LOAD, fields)
    return Action(f"Load {name} elsewhere", Page.LOAD, {"model": name})


THRASH = Rule(
    "thrash",
    "Models reload in turn",
    "How often within ten minutes models came back into an endpoint's memory although nobody asked Berth for it: models "
    "that displace each other, or clients that ask for one with different contexts.",
    Severity.WARNING,
    Unit.TIMES,
    Limits(4, 1, 0),
    _look,
)
