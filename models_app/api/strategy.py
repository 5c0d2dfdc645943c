"""``POST /strategy``: how to serve a set of models on one machine. A question: it changes nothing."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Router, Schema
from pydantic import ConfigDict

from models_app.api.auth import AUTH_TO_READ
from models_app.api.errors import Problem
from models_app.api.fit_schemas import ModelReference
from models_app.api.operations import problem_of
from models_app.catalog.find import find_variant
from models_app.catalog.models import Variant
from models_app.estimator.strategy import SWAP_SECONDS, StrategyAdvice
from models_app.inventory.models import Gpu, Host
from models_app.operations.refusals import RequestRefused
from models_app.operations.serving import DEFAULT_CONTEXT_LENGTH, MOST_MODELS, Candidate, Question, Serving, serving
from models_app.telemetry.sources import sample_now

HostReference = Annotated[int | str, Field(description="A host's id or name.", union_mode="left_to_right")]


class StrategyIn(Schema):
    """Which models, where, and what matters."""

    model_config = ConfigDict(extra="forbid")

    models: list[ModelReference] = Field(min_length=1, max_length=MOST_MODELS)
    host: HostReference
    gpu: str = Field(default="", description="A GPU's UUID, where only that one counts.", max_length=96)
    context_length: int = Field(default=DEFAULT_CONTEXT_LENGTH, ge=1, le=100_000_000, description="Tokens of each model.")
    tolerated_seconds: float = Field(default=SWAP_SECONDS, ge=0, le=86_400, description="Wait after a change of model.")
    isolated: bool = Field(default=False, description="Each model in a server of its own.")


class StrategyModelOut(Schema):
    """One model: what it takes of one GPU, and its part. ``role`` is ``stays``, ``swaps``, ``too_large`` or ``unknown``."""

    model: str
    model_id: int
    role: str
    endpoint: str | None
    installed_as: str | None
    context_length: int
    needed_bytes: int | None
    error_bytes: int
    grade: str
    reload_seconds: float | None
    reload_is_measured: bool
    why: str


class StrategyOptionOut(Schema):
    """One strategy: whether it works there, and the most that is in memory at once."""

    strategy: str
    fits: bool
    stay: list[str]
    swap: list[str]
    peak_bytes: int


class StrategyOut(Schema):
    """The advice, null where the memory is not measured or no model's need is known. ``capacity_bytes`` is what the
    machine gives beside the headroom and other programs once nothing of Berth's is loaded; ``free_bytes`` what it gives
    now."""

    host: str
    gpus: list[str]
    capacity_bytes: int
    free_bytes: int
    strategy: str | None
    reason: str
    models: list[StrategyModelOut]
    options: list[StrategyOptionOut]


router = Router(tags=["models"], auth=AUTH_TO_READ)


@router.post("", response=StrategyOut, summary="How to serve a set of models together")
def ask_for_a_strategy(request: HttpRequest, body: StrategyIn) -> StrategyOut:
    """Reading is enough: nothing is loaded, reserved or written."""
    host = _host(body.host)
    if body.gpu and not Gpu.objects.filter(host=host, uuid=body.gpu, present=True).exists():
        raise Problem(422, "unknown_gpu", f"{host.name} has no GPU {body.gpu}.", field="gpu")
    variants = list({each.pk: each for each in map(_variant, body.models)}.values())
    question = Question(variants, host, body.gpu, body.context_length, body.tolerated_seconds, body.isolated)
    try:
        return _strategy_out(serving(question, sample_now(host)))
    except RequestRefused as refused:
        raise problem_of(refused) from None


def _variant(reference: int | str) -> Variant:
    found = find_variant(reference, None)
    if found is None:
        raise Problem(422, "unknown_model", f"The catalog has no model {reference!r}.", field="models")
    return found


def _host(reference: int | str) -> Host:
    by = {"pk": reference} if isinstance(reference, int) else {"name": reference.replace("\x00", "")}
    is_storable = not isinstance(reference, int) or 0 < reference < 2**63
    found = Host.objects.filter(**by).first() if is_storable else None
    if found is None:
        raise Problem(422, "unknown_host", f"There is no host {reference!r}.", field="host")
    return found


def _strategy_out(answer: Serving) -> StrategyOut:
    advice = answer.advice
    names = [each.variant.name for each in answer.known]
    return StrategyOut(
        host=answer.question.host.name,
        gpus=[room.uuid for room in answer.devices if room.uuid],
        capacity_bytes=answer.capacity_bytes,
        free_bytes=answer.free_bytes,
        strategy=advice.strategy.value if advice else None,
        reason=advice.reason if advice else "The machine is not measured now, or no model's need is known.",
        models=[_model_out(answer, each) for each in answer.candidates],
        options=_options(advice, names) if advice else [],
    )


def _options(advice: StrategyAdvice, names: list[str]) -> list[StrategyOptionOut]:
    return [
        StrategyOptionOut(
            strategy=option.strategy.value,
            fits=option.fits,
            stay=[names[place] for place in option.stay],
            swap=[names[place] for place in option.swap],
            peak_bytes=option.peak_bytes,
        )
        for option in advice.options
    ]


def _model_out(answer: Serving, each: Candidate) -> StrategyModelOut:
    same: dict[str, Any] = {name: getattr(each, name) for name in ("context_length", "needed_bytes", "error_bytes", "why")}
    return StrategyModelOut(
        model=each.variant.name,
        model_id=each.variant.pk,
        role=answer.role_of(each).value,
        endpoint=each.endpoint.name if each.endpoint else None,
        installed_as=each.installed_as or None,
        grade=each.grade.value,
        reload_seconds=each.reload.seconds,
        reload_is_measured=each.reload.is_measured,
        **same,
    )
