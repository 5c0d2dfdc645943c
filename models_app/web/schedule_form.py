"""The form of a schedule. The service judges what was typed; the form keeps it."""

from __future__ import annotations

from typing import Any

from django import forms

from models_app.operations.refusals import RequestRefused
from models_app.plans.models import Demand, Plan
from models_app.plans.schedules import Schedule
from models_app.web.typing_aids import PLAIN

MOST_PLANS = 100


class ScheduleForm(forms.Form):
    """When, and what then: a plan is applied or a demand made available."""

    name = forms.CharField(widget=forms.TextInput(attrs={"autocomplete": "off"}))
    cron = forms.CharField(
        label="When",
        help_text="Minute, hour, day of the month, month, day of the week. 0 20 * * 1-5 is 20:00 on workdays.",
        widget=forms.TextInput(attrs=PLAIN | {"placeholder": "0 20 * * 1-5"}),
    )
    time_zone = forms.CharField(
        label="Time zone",
        help_text="Such as Europe/Berlin; the change to and from daylight saving is heeded.",
        widget=forms.TextInput(attrs=PLAIN),
    )
    what = forms.ChoiceField(label="Then", help_text="A plan's demands are solved anew when it fires.")
    when_busy = forms.ChoiceField(
        label="While another plan is being applied",
        help_text="Or while a model that has only just come would have to make way.",
        choices=Schedule.WhenBusy.choices,
    )
    enabled = forms.BooleanField(label="Switched on", required=False)

    def __init__(self, *args: Any, row: Schedule | None = None, **kwargs: Any) -> None:
        """``row`` is the schedule that is changed: its own plan is offered however many are newer."""
        super().__init__(*args, **kwargs)
        plans = Plan.objects.filter(changes={}).exclude(state__in=[Plan.State.SOLVING, Plan.State.FAILED])
        own = Plan.objects.filter(pk=row.plan_id) if row and row.plan_id else Plan.objects.none()
        offered = [*plans.defer(*Plan.PARTS)[:MOST_PLANS], *own.defer(*Plan.PARTS)]
        self._plans = {f"plan-{plan.pk}": plan for plan in offered}
        self._demands = {f"demand-{demand.pk}": demand for demand in Demand.objects.all()}
        self.fields["what"].choices = [  # type: ignore[attr-defined]
            ("Apply the plan", [(key, str(plan)) for key, plan in self._plans.items()]),
            ("Make available", [(key, str(demand)) for key, demand in self._demands.items()]),
        ]

    def document(self) -> dict[str, Any]:
        """What was typed, as ``save_schedule`` takes it."""
        given = self.cleaned_data
        chosen = {"plan": self._plans.get(given["what"]), "demand": self._demands.get(given["what"])}
        return {name: given[name] for name in ("name", "cron", "time_zone", "when_busy", "enabled")} | chosen

    def refuse(self, refused: RequestRefused) -> None:
        """Show each sentence beside its field."""
        for field, message in (refused.errors or {"": refused.message}).items():
            name = {"plan": "what", "demand": "what"}.get(field, field)
            self.add_error(name if name in self.fields else None, message)


def initial_of(row: Schedule) -> dict[str, object]:
    """What the form of a schedule begins with."""
    what = f"plan-{row.plan_id}" if row.plan_id else f"demand-{row.demand_id}"
    names = ("name", "cron", "time_zone", "when_busy", "enabled")
    return {name: getattr(row, name) for name in names} | {"what": what}
