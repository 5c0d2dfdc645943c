"""The table of recommended configurations as forms: a row each, in GiB for people."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict

from models_app.catalog.tiers import LONGEST, MOST_TIERS, TierRefused
from models_app.estimator.tiers import Tier, TierKind

_GIB = 1024**3
KINDS = {TierKind.VRAM: "VRAM of all GPUs", TierKind.CPU_ONLY: "RAM, no GPU", TierKind.UNIFIED: "Unified memory"}
_FORM_NAMES = {"from_bytes": "from_gib", "to_bytes": "to_gib"}
"""How a form calls the columns that it shows in GiB."""


def _words(label: str, name: str, *, required: bool = True) -> forms.CharField:
    return forms.CharField(
        label=label, required=required, max_length=LONGEST[name], widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


def _gib(label: str, *, required: bool = True) -> forms.DecimalField:
    return forms.DecimalField(label=label, required=required, min_value=0, max_value=1_000_000, decimal_places=2)


class TierForm(forms.Form):
    """One row."""

    name = _words("Name", "name")
    kind = forms.ChoiceField(
        label="Memory", choices=[(kind.value, words) for kind, words in KINDS.items()], initial=TierKind.VRAM.value
    )
    from_gib = _gib("From, GiB")
    to_gib = _gib("To, GiB", required=False)
    model_sizes = _words("Models", "model_sizes")
    quantization = _words("Quantisation", "quantization")
    context_length = forms.IntegerField(label="Context", min_value=1, max_value=100_000_000)
    strategy = _words("Strategy", "strategy")
    note = _words("Note", "note", required=False)

    def tier(self) -> Tier:
        """The row as a value."""
        chosen = self.cleaned_data
        return Tier(
            kind=TierKind(chosen["kind"]),
            from_bytes=_bytes(chosen["from_gib"]),
            to_bytes=None if chosen["to_gib"] is None else _bytes(chosen["to_gib"]),
            **{
                name: chosen[name] for name in ("name", "model_sizes", "quantization", "context_length", "strategy", "note")
            },
        )


_Rows = forms.formset_factory(TierForm, extra=1, can_delete=True, max_num=MOST_TIERS, absolute_max=MOST_TIERS + 10)


class TierRows:
    """Every row and an empty one. What was typed is kept while anything is wrong with it."""

    def __init__(self, data: QueryDict | None, table: tuple[Tier, ...]) -> None:
        self.formset = _Rows(data, initial=[_initial(tier) for tier in table])

    def chosen(self) -> list[Tier] | None:
        """The rows that are to be the table; ``None`` where a field is at fault."""
        return [form.tier() for form in self._kept()] if self.formset.is_valid() else None

    def refuse(self, refused: TierRefused) -> None:
        """Show what is wrong beside its field, or above them all."""
        kept = self._kept()
        field = _FORM_NAMES.get(refused.field, refused.field)
        if refused.row < len(kept) and field:
            kept[refused.row].add_error(field, refused.message)
        else:
            self.formset.non_form_errors().append(refused.message)

    @property
    def has_errors(self) -> bool:
        """Whether anything is at fault."""
        return self.formset.is_bound and (bool(self.formset.non_form_errors()) or any(form.errors for form in self.formset))

    def _kept(self) -> list[Any]:
        """The rows that hold something and are not ticked to go."""
        return [form for form in self.formset if form.cleaned_data.get("name") and not form.cleaned_data.get("DELETE")]


def _initial(tier: Tier) -> dict[str, Any]:
    words = {
        name: getattr(tier, name) for name in ("name", "model_sizes", "quantization", "context_length", "strategy", "note")
    }
    to_gib = None if tier.to_bytes is None else _in_gib(tier.to_bytes)
    return {"kind": tier.kind.value, "from_gib": _in_gib(tier.from_bytes), "to_gib": to_gib} | words


def _bytes(gib: Decimal) -> int:
    return int(gib * _GIB)


def _in_gib(size_bytes: int) -> Decimal:
    """As short as it is exact: 24, not 24.00."""
    whole, rest = divmod(size_bytes, _GIB)
    return Decimal(whole) if not rest else (Decimal(size_bytes) / _GIB).quantize(Decimal("0.01"))
