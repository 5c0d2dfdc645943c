"""Working an apply off in a test."""

from __future__ import annotations

from models_app.operations.advance import advance, advance_for
from models_app.operations.models import Operation
from tests.operations.conftest import Stage


def work(stage: Stage, operation: Operation) -> Operation:
    """Work it off as a worker does that is told of each operation."""
    advance(operation.pk)
    while waiting := Operation.objects.filter(part_of__operation=operation, state="queued").order_by("pk"):
        for part in waiting:
            Operation.objects.filter(pk=part.pk).update(due_at=None)
            stage.work(part)
            advance_for(part.pk)
    operation.refresh_from_db()
    return operation
