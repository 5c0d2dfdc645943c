"""What an agent and the panel say to each other: one JSON list ``["name", {…}]`` a websocket message.

    panel → agent    Challenge  Enrolled  Welcome  Committed  Ask  Cancel  Settled
    agent → panel    Enrol  Hello  Samples  Announce  Observed  Progressed  Part  Done

The panel challenges; the agent answers with ``Hello`` (before its first one with ``Enrol``), and says nothing else before
``Welcome``, which proves that the panel knows the secret too. Samples are numbered within the agent's process
(``boot_id``) and forgotten only once ``Committed`` says that they are stored. What the panel asks has an id: asked twice,
it is done once. ``Done`` is repeated until ``Settled``.

More than two hundred lines, for the whole conversation is read in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from models_app.agent import codec, quick
from models_app.agent.codec import Malformed
from models_app.backends.protocol import Observation, Progress
from models_app.probes.types import HostSample

VERSION = 1
MOST_BYTES = 60 * 1024
"""Of one message: the panel's web server takes 64 KiB."""
PART_CHARACTERS = 12 * 1024
"""Of a long answer in one ``Part``: a character takes at most four bytes."""
MOST_ANSWER_CHARACTERS = 8 * 1024**2
MOST_ENDPOINTS = 64


class CloseCode:
    """Why a socket was closed, beyond the websocket's own codes."""

    RESTARTED = 1012
    """The panel has to begin anew with what comes over this socket."""
    MALFORMED = 4400
    REFUSED = 4401
    """The secret is wrong, or the agent was revoked."""
    TIMED_OUT = 4408
    """It has not proved itself in time."""
    REPLACED = 4409
    """Another connection of the same agent took over."""
    VERSION = 4426
    FLOOD = 4429
    REFUSED_TOKEN = 4410
    """The one-time token was used, has expired, or never existed."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The first word. ``time`` is the panel's clock."""

    nonce: str
    time: datetime
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Enrol:
    """Turns a one-time token into the agent's own secret; ``salt`` is the agent's part of it."""

    key_id: str
    salt: str
    proof: str
    hostname: str = ""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The secret counts from now on. ``proof`` shows that the panel knows it too."""

    host: str
    proof: str


@dataclass(frozen=True, slots=True)
class Hello:
    """Who connects. ``boot_id`` names the agent's process, ``time`` is its wall clock."""

    key_id: str
    nonce: str
    proof: str
    boot_id: str
    time: datetime
    program: str = ""
    hostname: str = ""
    running: tuple[int, ...] = ()
    """Ids of what was asked and has not been settled."""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Welcome:
    """The agent is let in. ``committed`` is the greatest sequence of this boot that is stored."""

    host: str
    proof: str
    committed: int
    time: datetime
    sample_seconds: float = 1.0
    observe_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples in the order of their sequence; their times are by the panel's clock, as far as the agent knows it."""

    items: tuple[HostSample, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """Everything up to ``sequence`` is stored. The agent may gather samples for so long before it sends them together."""

    sequence: int
    time: datetime
    gather_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """A server that the agent offers, by the name in its configuration."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Announce:
    """The servers that the agent's configuration names: all of them, each time."""

    endpoints: tuple[LocalEndpoint, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a call failed, as ``backends.errors`` tells it."""

    code: str
    message: str
    hint: str = ""
    option: str = ""
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What an endpoint said ``age_seconds`` ago, unasked: an observation, or why there is none."""

    endpoint: str
    age_seconds: float = 0.0
    observation: Observation | None = None
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One of the calls in ``agent.calls``. ``endpoint`` is empty where the whole host is meant."""

    id: int
    call: str
    endpoint: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 30.0
    """After which the agent gives up."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Whoever asked no longer wants it."""

    id: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far it is."""

    id: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a long answer, before its ``Done``."""

    id: int
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end: an answer, or why there is none. With ``parts`` the answer is their joined text, as JSON."""

    id: int
    answer: Any = None
    failed: Failed | None = None
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """The end is known; the agent may forget it."""

    id: int


_SAMPLES, _OBSERVED = '["Samples",', '["Observed",'

Message = (
    Challenge
    | Enrol
    | Enrolled
    | Hello
    | Welcome
    | Samples
    | Committed
    | Announce
    | Observed
    | Ask
    | Cancel
    | Progressed
    | Part
    | Done
    | Settled
)


def pack(message: Message) -> str:
    """The message as text. Raises ``Malformed`` for one that is too large to send."""
    text = codec.dumps([_name(type(message)), codec.encode(message)])
    if len(text) > MOST_BYTES or len(text.encode()) > MOST_BYTES:
        raise Malformed(f"A message of {len(text)} characters is too large to send.")
    return text


def unpack(text: str | bytes | None, *kinds: type[Any]) -> Any:
    """The message, which has to be one of these. Raises ``Malformed``."""
    if not isinstance(text, str):
        raise Malformed("Messages are texts.")
    if len(text) > MOST_BYTES:
        raise Malformed(f"A message has at most {MOST_BYTES} bytes.")
    if text.startswith(_SAMPLES) and Samples in kinds:
        return quick.read(text.removeprefix(_SAMPLES).removesuffix("]"), Samples)
    match codec.loads(text):
        case [str(name), dict(content)] if name in (known := _by_name(kinds)):
            return codec.made(known[name], content)
        case [str(name), dict()]:
            raise Malformed(f"“{name[:40]}” is not expected here.")
    raise Malformed("This is no message.")


def is_report(text: str) -> bool:
    """Whether this is a message of ``Samples`` or ``Observed``, if it is one at all."""
    return text.startswith((_SAMPLES, _OBSERVED))


def batch(samples: Iterable[str]) -> str:
    """``Samples`` of items that are encoded already."""
    return f'{_SAMPLES}{{"items":[{",".join(samples)}]}}]'


@cache
def _by_name(kinds: tuple[type[Any], ...]) -> dict[str, type[Any]]:
    return {_name(kind): kind for kind in kinds}


def _name(kind: type[Any]) -> str:
    return kind.__name__
