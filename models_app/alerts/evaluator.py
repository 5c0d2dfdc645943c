"""The rules, applied at every tick to the fleet as it is: what they find becomes alerts.

Raised alerts are rows, so that a restart neither raises them again nor forgets them. Only a duration that has just begun
starts anew with the process, and the rules' memory of the last hour is read back.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.utils import timezone
from pydantic import TypeAdapter, ValidationError

from models_app.alerts.knocking import Knocker
from models_app.alerts.limits import limits_by_rule
from models_app.alerts.models import Remembered
from models_app.alerts.records import Key, clear_alert, forget_old, open_alerts, raise_alert, update_alert
from models_app.alerts.rules.catalogue import RULES
from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Limits, Reading, Rule
from models_app.alerts.rules.hysteresis import Track, follow
from models_app.alerts.rules.past import Past
from models_app.alerts.snapshot import snapshot
from models_app.telemetry.precedence import precedence

log = logging.getLogger(__name__)

EVALUATE_SECONDS = 5.0
MOST_SHARE = 0.1
"""Of one core: a look rests until it has taken no more. One at a thousand hosts of eight GPUs takes 0.4 s; several
thousand are therefore looked at less often than every five seconds."""
REMEMBER_EVERY = timedelta(minutes=1)
STALE_AFTER = timedelta(minutes=10)
"""A memory older than this is not taken up: what happened in between is not known."""

_PAST = TypeAdapter(Past)


class Evaluator:
    """Applies the rules; to be used in the process that leads."""

    def __init__(self) -> None:
        self._past: Past | None = None
        self._remembered_at: datetime | None = None
        self._tracks: dict[Key, Track] = {}
        self._due = 0.0
        self._facts: Facts | None = None
        self.knocker = Knocker()

    async def tick(self) -> None:
        """Look at everything once, unless the last look at a large fleet was long enough for some time.

        To be called every ``EVALUATE_SECONDS``.
        """
        if time.monotonic() >= self._due:
            spent_seconds = await sync_to_async(self._timed)()
            if self._facts is not None and self._past is not None:
                self.knocker.begin(self._facts, self._past)
            self._due = time.monotonic() + spent_seconds / MOST_SHARE - EVALUATE_SECONDS

    def _timed(self) -> float:
        """Evaluate; the seconds of CPU that it took."""
        with precedence.turn():
            began = time.thread_time()
            self.evaluate()
            return time.thread_time() - began

    def evaluate(self, now: datetime | None = None) -> None:
        """The same at once."""
        now = now or timezone.now()
        facts = self._facts = snapshot(now, self.knocker.answers)
        self._past = (_recalled(now) if self._past is None else self._past).after(facts)
        self._tracks = _Round(facts, self._past, self._tracks).run()
        if self._remembered_at is None or now - self._remembered_at >= REMEMBER_EVERY:
            self._remembered_at = now
            _remember(self._past, now)
            forget_old(now)


class _Round:
    """One evaluation: every rule, every subject."""

    def __init__(self, facts: Facts, past: Past, tracks: dict[Key, Track]) -> None:
        self._facts, self._past = facts, past
        self._alerts = open_alerts()
        as_known = {key: track for key, track in tracks.items() if track.is_raised == (key in self._alerts)}
        self._before = {key: Track(alert.since, True) for key, alert in self._alerts.items()} | as_known
        self._tracks: dict[Key, Track] = {}

    def run(self) -> dict[Key, Track]:
        """The tracks afterwards. What is followed no longer is cleared."""
        limits = limits_by_rule()
        for rule in RULES:
            precedence.give_way()  # of a thousand hosts a look takes half a second
            if limits[rule.name].is_on:
                self._apply(rule, limits[rule.name])
        for key, alert in self._alerts.items():
            if key not in self._tracks:
                clear_alert(alert, self._facts.at)
        return self._tracks

    def _apply(self, rule: Rule, limits: Limits) -> None:
        """A rule that fails is logged; its alerts stay as they are, and the other rules go on."""
        try:
            readings = list(rule.look(self._facts, self._past, limits))
        except Exception:
            log.exception("the rule %s failed", rule.name)
            self._tracks |= {key: track for key, track in self._before.items() if key[0] == rule.name}
            return
        for reading in readings:
            self._judge(rule, limits, reading)

    def _judge(self, rule: Rule, limits: Limits, reading: Reading) -> None:
        key = (rule.name, reading.subject.key)
        track = follow(self._before.get(key), reading.value, limits, self._facts.at)
        if track is None:
            return
        self._tracks[key] = track
        if key in self._alerts and (reading.value or 0) > limits.clear_at:
            update_alert(self._alerts[key], rule, reading, self._facts.at)
        elif key not in self._alerts and track.is_raised:
            raise_alert(rule, reading, track.since, self._facts.at)


def _remember(past: Past, now: datetime) -> None:
    Remembered.objects.update_or_create(pk=1, defaults={"payload": _PAST.dump_json(past).decode(), "at": now})


def _recalled(now: datetime) -> Past:
    """What was remembered before a restart; nothing where that is old or from another version."""
    row = Remembered.objects.filter(pk=1, at__gt=now - STALE_AFTER).first()
    try:
        return _PAST.validate_json(row.payload) if row else Past()
    except ValidationError:
        return Past()
