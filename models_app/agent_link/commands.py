"""Commands to agents as rows, and the only ways between their states.

    from    to         when
    queued  sent       the process that holds the agent's socket sends it
    queued  cancelled  nobody waits for it any longer
    queued  lost       the agent stayed away, was revoked, or the time was over
    sent    queued     the agent connected again and has never heard of it
    sent    succeeded  the agent says so
    sent    failed     the agent says so
    sent    cancelled  the agent says that it stopped
    sent    lost       the agent's process ended, or stayed away: what became of it is not known

What is lost and still goes on is stopped when its agent connects again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from models_app.agent import codec
from models_app.agent.messages import Ask, Done, Failed
from models_app.agent_link.door import tell_commands
from models_app.agent_link.models import AWAY_AFTER, Agent, AgentCommand
from models_app.backends.protocol import Progress

State = AgentCommand.State

KEPT_FOR = timedelta(hours=1)
MOST_LINES = 500
QUESTIONS = frozenset(
    {"identify", "installed", "shape", "header", "observe", "sample"}
    | {"programs", "ollama_choices", "list_files", "read_file", "server_log"}
)
"""Calls that change nothing: their rows are deleted soon after."""
QUESTIONS_KEPT_FOR = timedelta(minutes=1)
_RESTARTED = Failed(
    "endpoint_unreachable", "The agent was restarted meanwhile.", "Look at the endpoint before trying again."
)

_lock = threading.Lock()
_waiting: dict[int, Callable[[], object]] = {}


def ask(agent: Agent, call: str, endpoint: str, arguments: Any, seconds: float) -> AgentCommand:
    """A new command, which waits for the agent's socket."""
    row = AgentCommand.objects.create(
        agent=agent,
        call=call,
        endpoint=endpoint,
        arguments=codec.encode(arguments),
        deadline_at=timezone.now() + timedelta(seconds=seconds),
    )
    tell_commands(agent.pk)
    return row


def request_cancel(command_id: int) -> None:
    """Have it stopped. One that was not sent ends here.

    The wish is written first: one that is queued again meanwhile, for its agent has connected anew, is stopped when sent.
    """
    now = timezone.now()
    rows = AgentCommand.objects.filter(pk=command_id)
    is_news = rows.filter(state__in=AgentCommand.OPEN, cancel_requested_at=None).update(cancel_requested_at=now)
    if not rows.filter(state=State.QUEUED).update(state=State.CANCELLED, finished_at=now) and is_news:
        tell_commands(rows.values_list("agent_id", flat=True)[0])


def take_due(agents: dict[int, str]) -> list[tuple[int, Ask]]:
    """Commands for these agents (by id, with their boot ids) that are sent now, each with its agent's id."""
    now = timezone.now()
    due = AgentCommand.objects.filter(state=State.QUEUED, deadline_at__gt=now).order_by("pk")
    taken = []
    for row in due:
        if row.agent_id not in agents:
            continue
        columns = {"state": State.SENT, "sent_at": now, "boot_id": agents[row.agent_id]}
        if AgentCommand.objects.filter(pk=row.pk, state=State.QUEUED).update(**columns):
            left_seconds = (row.deadline_at - now).total_seconds()
            taken.append((row.agent_id, Ask(row.pk, row.call, row.endpoint, row.arguments, left_seconds)))
    return taken


def to_cancel(agent_ids: Container[int]) -> list[tuple[int, int]]:
    """Agent's id and command's id of all that shall stop and has not."""
    rows = AgentCommand.objects.filter(state=State.SENT).exclude(cancel_requested_at=None)
    return [(agent_id, pk) for agent_id, pk in rows.values_list("agent_id", "pk") if agent_id in agent_ids]


def record_progress(agent_id: int, command_id: int, progress: Progress) -> None:
    """How far it is. Lines of a log are kept, the latest of them, with the number of all."""
    before = _open(agent_id, command_id).values_list("progress", flat=True).first() or {}
    lines = [*before.get("lines", []), *progress.lines]
    count = before.get("line_count", 0) + len(progress.lines)
    latest = {**codec.encode(progress), "lines": lines[-MOST_LINES:], "line_count": count}
    if _open(agent_id, command_id).update(progress=latest):
        notify(command_id)


def new_lines(progress: Mapping[str, Any], known: int) -> tuple[str, ...]:
    """The lines of a row's progress after the first ``known``, as far as they are kept."""
    lines: list[str] = progress.get("lines", [])
    return tuple(lines[max(0, len(lines) - (progress.get("line_count", 0) - known)) :])


def record_done(agent_id: int, done: Done) -> None:
    """Its end, as the agent tells it. A second one, and one for another agent's command, changes nothing."""
    columns: dict[str, Any] = {"state": State.SUCCEEDED, "answer": done.answer}
    if done.failed is not None:
        is_cancelled = done.failed.code == "cancelled"
        columns = {"state": State.CANCELLED if is_cancelled else State.FAILED, "failure": codec.encode(done.failed)}
    if _open(agent_id, done.id).update(**columns, finished_at=timezone.now()):
        notify(done.id)


def lose(rows: Any, failure: Failed) -> None:
    """Give up on commands that were sent: what became of them is not known."""
    for command_id in rows.values_list("pk", flat=True):
        still = AgentCommand.objects.filter(pk=command_id, state__in=AgentCommand.OPEN)
        if still.update(state=State.LOST, failure=codec.encode(failure), finished_at=timezone.now()):
            notify(command_id)


def settle_after_greeting(agent: Agent, running: Iterable[int]) -> tuple[int, ...]:
    """After a new connection: what another process of the agent had got is lost, what this one never got is sent again.

    Returns what the agent still works on and nobody waits for.
    """
    sent = AgentCommand.objects.filter(agent=agent, state=State.SENT)
    lose(sent.exclude(boot_id=agent.boot_id), _RESTARTED)
    sent.filter(boot_id=agent.boot_id).exclude(pk__in=list(running)).update(state=State.QUEUED)
    wanted = set(AgentCommand.objects.filter(agent=agent, state__in=AgentCommand.OPEN).values_list("pk", flat=True))
    return tuple(each for each in running if each not in wanted)


def tidy() -> None:
    """Delete what ended long ago, and end what nobody has waited for."""
    now = timezone.now()
    old = Q(finished_at__lt=now - KEPT_FOR) | Q(finished_at__lt=now - QUESTIONS_KEPT_FOR, call__in=QUESTIONS)
    AgentCommand.objects.filter(old).delete()
    overdue = AgentCommand.objects.filter(state__in=AgentCommand.OPEN, deadline_at__lt=now - AWAY_AFTER)
    lose(overdue, Failed("endpoint_timed_out", "The agent did not do it in time."))


def _open(agent_id: int, command_id: int) -> Any:
    return AgentCommand.objects.filter(pk=command_id, agent_id=agent_id, state__in=AgentCommand.OPEN)


# ── waiting in this process ──────────────────────────────────────────────────


def on_news(command_id: int, call: Callable[[], object]) -> None:
    """Call this, from any thread, when this process hears of the command."""
    with _lock:
        _waiting[command_id] = call


def forget_news(command_id: int) -> None:
    """Nobody waits any longer."""
    with _lock:
        _waiting.pop(command_id, None)


def notify(command_id: int) -> None:
    """Wake whoever waits for the command in this process; others look at the row."""
    with _lock:  # until it has been called: whoever waits no longer may have closed its loop
        call = _waiting.get(command_id)
        if call is not None:
            call()
