"""A sample is shown from memory before its row is written, so that whoever looks waits for no lock of the database.

The row follows within a moment and stays the truth: a page that is loaded anew shows the row, and so does one whose sample
in memory has grown old without it.
"""

from __future__ import annotations

from dataclasses import replace

from models_app.telemetry import fresh
from models_app.telemetry.known import Known, Newest


def show(newest: Newest) -> None:
    """Show a sample to who looks at its host in this process; not before the host's row has been read once.

    The row may hold it already, written meanwhile by the process beside.
    """
    if not fresh.is_wanted(newest.host.pk):
        return
    known, sample = newest.known, newest.sample
    before, shown = known.shown, _ahead_of(known)
    known.shown = shown
    if shown.recent is None or (before is not None and not before.is_news(sample)):
        return
    if shown.is_news(sample):
        shown.remember(sample)
    if shown.holds(sample):
        fresh.show(replace(newest, known=shown).latest())


def _ahead_of(known: Known) -> Known:
    """What was shown; the row's where that is as new, for it has the samples, too, that came while nobody looked."""
    shown = known.shown
    if shown is None or shown.taken_at is None or (known.taken_at and known.taken_at >= shown.taken_at):
        return Known(known.rings(), known.boot_id, known.sequence, known.taken_at) if known.taken_at else Known()
    return shown
