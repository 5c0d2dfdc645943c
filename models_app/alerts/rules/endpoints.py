"""What an endpoint shows by itself: it does not answer, anybody may command it, or its version is known to be unsafe."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Action, Figure, Limits, Page, Reading, Rule, Severity, Unit
from models_app.alerts.rules.fleet import EndpointFacts
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_endpoint
from models_app.backends.errors import ConnectionRefused, ServerStopped, TimedOut, Unreachable
from models_app.backends.protocol import BackendKind

GONE = "If it is gone for good, remove it from the list."
LEFT = "Berth found it by itself, and its process has ended. Remove it from the list, or start it again where it is missed."
LEFT_AFTER = timedelta(hours=1)
GONE_CODES = frozenset({Unreachable.code, ConnectionRefused.code, TimedOut.code})


def _silent(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host, endpoint in facts.endpoints():
        is_new = not endpoint.code and not endpoint.is_online
        sentence = f"{endpoint.state}: {endpoint.message}" if endpoint.message else f"{endpoint.state}."
        models = sum(1 for model in host.models if model.endpoint_id == endpoint.id)
        is_wanted = endpoint.code != ServerStopped.code
        value = None if is_new else float(is_wanted and not endpoint.is_online)
        figures = (Figure("Models that it held", models),)
        action = _remove(endpoint)
        if _has_left(endpoint, facts.at):
            advice, severity = LEFT, Severity.WARNING
        else:
            advice, severity = f"{endpoint.hint} {GONE if action else ''}".strip(), None
        yield Reading(of_endpoint(host, endpoint), value, sentence, figures, advice, action, severity)


def _has_left(endpoint: EndpointFacts, now: datetime) -> bool:
    """Nobody entered it, and nothing has listened on its port for long: its process has ended, and that is no outage."""
    is_refused = endpoint.code == ConnectionRefused.code and endpoint.discovered
    return is_refused and endpoint.last_seen_at is not None and now - endpoint.last_seen_at >= LEFT_AFTER


def _remove(endpoint: EndpointFacts) -> Action | None:
    """Where nothing answers any more at an address that somebody entered or that was found, and nobody else looks after."""
    if endpoint.code not in GONE_CODES or urlsplit(endpoint.url).scheme not in ("http", "https"):
        return None
    return Action("Remove it from the list", Page.REMOVE_ENDPOINT, {"endpoint_id": str(endpoint.id)})


ENDPOINT_LOST = Rule(
    "endpoint_lost",
    "Endpoint lost",
    "An Ollama or llama-server that does not answer, refuses the key, or answers nonsense.",
    Severity.CRITICAL,
    Unit.NONE,
    Limits(1, 0, 30),
    _silent,
)


def _open(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host, endpoint in facts.endpoints():
        is_open = endpoint.is_online and endpoint.id not in facts.keyed and _is_on_network(endpoint.url)
        value = float(is_open) if endpoint.is_online else None
        what = "Ollama has no keys of its own" if endpoint.kind == BackendKind.OLLAMA else "No key is stored for it"
        yield Reading(
            of_endpoint(host, endpoint),
            value,
            f"{what}: whoever reaches {endpoint.url} may run, load, replace and delete models.",
            (),
            "Let it listen on loopback behind an agent or a proxy that asks for a key, or give llama-server an --api-key.",
        )


def _is_on_network(url: str) -> bool:
    """Neither on loopback, nor behind an agent, nor started by Berth, which starts everything on loopback."""
    parts = urlsplit(url)
    name = (parts.hostname or "").rstrip(".").lower()
    try:
        is_loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_loopback = name == "localhost"
    return parts.scheme in ("http", "https") and not is_loopback


ENDPOINT_OPEN = Rule(
    "endpoint_open",
    "Endpoint without a key",
    "A server that the panel reaches over the network without any key. In 2025 some 175,000 Ollama servers stood open like "
    "this.",
    Severity.NOTICE,
    Unit.NONE,
    Limits(1, 0, 60),
    _open,
)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A published flaw of Ollama: safe from ``fixed_in`` on."""

    fixed_in: tuple[int, ...]
    reason: str
    source: str


FLAWS = (
    Flaw((0, 1, 29), "a web page can command the server through DNS rebinding", "CVE-2024-28224"),
    Flaw((0, 1, 34), "a crafted pull writes files anywhere and runs code", "CVE-2024-37032"),
    Flaw((0, 1, 46), "a crafted ZIP writes files outside of its folder", "CVE-2024-45436"),
    Flaw((0, 17, 1), "a crafted model file reads the server's memory", "CVE-2026-7482"),
)
"""With their source in the public list of vulnerabilities, https://www.cve.org."""


def flaws_of(kind: str, version: str) -> list[Flaw]:
    """The known flaws of a version; none of one that is not written in numbers."""
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if kind != BackendKind.OLLAMA or numbers is None:
        return []
    return [flaw for flaw in FLAWS if tuple(map(int, numbers.groups())) < flaw.fixed_in]


def _outdated(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host, endpoint in facts.endpoints():
        flaws = flaws_of(endpoint.kind, endpoint.version)
        newest = ".".join(map(str, max((flaw.fixed_in for flaw in flaws), default=())))
        yield Reading(
            of_endpoint(host, endpoint),
            len(flaws) if endpoint.version else None,
            _known(endpoint, flaws),
            (Figure("Known flaws", len(flaws)),),
            f"Update it to {newest} or newer. Models in memory have to be loaded again afterwards.",
        )


def _known(endpoint: EndpointFacts, flaws: list[Flaw]) -> str:
    return f"Version {endpoint.version}: " + "; ".join(f"{flaw.reason} ({flaw.source})" for flaw in flaws) + "."


ENDPOINT_OUTDATED = Rule(
    "endpoint_outdated",
    "Endpoint outdated",
    "How many published flaws the version of an endpoint has.",
    Severity.WARNING,
    Unit.NONE,
    Limits(1, 0, 0),
    _outdated,
)
