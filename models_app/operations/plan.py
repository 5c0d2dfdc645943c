"""Which steps an operation takes, and which put back what it has done."""

from __future__ import annotations

from collections.abc import Sequence

from models_app.backends.protocol import LoadOptions, ModelState, Observation, ResidentModel
from models_app.inventory.models import LoadedModel, Residency
from models_app.operations.matching import differing_options
from models_app.operations.models import Operation, OperationStep
from models_app.operations.options import stored_options
from models_app.operations.outcomes import Failure

Kind = Operation.Kind
Action = OperationStep.Action
StepState = OperationStep.State


def plan(operation: Operation, observation: Observation) -> list[OperationStep]:
    """The steps from what is in memory now to what was asked for. Raises ``Failure`` where that has become impossible."""
    name = operation.model_name
    if operation.kind == Kind.UNLOAD:
        return [_unload(operation, name, observation)]
    if operation.kind == Kind.RESTART:
        return [_unload(operation, name, observation), _load_again(operation)]
    if operation.kind == Kind.PULL:
        return [OperationStep(action=Action.PULL, model_name=name)]
    if operation.kind == Kind.DELETE:
        return _plan_delete(operation, observation)
    if operation.kind == Kind.SET_KEEP_ALIVE:
        return [_keep_alive(operation, observation)]
    if operation.kind == Kind.MEASURE_SPEED:
        return [_measure(operation, observation)]
    return _plan_load(operation, observation)


def plan_undo(
    operation: Operation, steps: Sequence[OperationStep], observation: Observation | None, *, keep_loaded: bool
) -> list[OperationStep]:
    """The steps that put things back: what was newly loaded goes, what was unloaded returns with its options.

    ``observation`` is ``None`` where the endpoint does not answer. ``keep_loaded``: a model that was loaded, though not as
    measured, stays where it is if nothing else has to come back.
    """
    unloaded = [step for step in steps if step.action == Action.UNLOAD and _has_left(step, observation)]
    is_wanted_back = operation.kind not in (Kind.UNLOAD, Kind.RESTART)
    restores = [_restore(step) for step in unloaded if is_wanted_back]
    begun = [step for step in steps if step.action == Action.LOAD and step.state in (StepState.RUNNING, StepState.DONE)]
    if keep_loaded and not restores:
        return []
    return [_clean_up(step) for step in begun if observation and observation.find(step.model_name)] + restores


def _plan_load(operation: Operation, observation: Observation) -> list[OperationStep]:
    resident = _present(observation, operation.model_name)
    leaving = [name for name in operation.unload if name != operation.model_name]
    unloads = [_unload(operation, name, observation) for name in leaving]
    if resident is not None and _must_reload(operation, resident):
        unloads.append(_unload(operation, operation.model_name, observation))
    return [*unloads, _load(operation, dict(operation.options))]


def _load(operation: Operation, options: dict[str, object]) -> OperationStep:
    expected_bytes = operation.estimate.get("model_bytes")
    return OperationStep(
        action=Action.LOAD, model_name=operation.model_name, options=options, expected_bytes=expected_bytes
    )


def _load_again(operation: Operation) -> OperationStep:
    """Whoever pinned the model still wants it."""
    residency = _residency(operation, operation.model_name)
    return _load(operation, {"pinned": True} if residency and residency.pinned else {})


def _must_reload(operation: Operation, resident: ResidentModel) -> bool:
    residency = _residency(operation, resident.name)
    differing = differing_options(stored_options(operation.options), resident, residency)
    if differing and not operation.reload:
        message = f"{resident.name} has meanwhile been loaded with another {' and '.join(differing)}."
        raise Failure("loaded_with_other_options", message)
    return bool(differing)


def _plan_delete(operation: Operation, observation: Observation) -> list[OperationStep]:
    delete = OperationStep(action=Action.DELETE, model_name=operation.model_name)
    if _present(observation, operation.model_name) is None:
        return [delete]
    if operation.model_name not in operation.unload:
        raise Failure("model_in_use", f"{operation.model_name} has meanwhile been loaded.")
    return [_unload(operation, operation.model_name, observation), delete]


def _keep_alive(operation: Operation, observation: Observation) -> OperationStep:
    kept = _options_to_repeat(operation, observation) | operation.options
    return OperationStep(action=Action.KEEP_ALIVE, model_name=operation.model_name, options=kept)


def _measure(operation: Operation, observation: Observation) -> OperationStep:
    same = _options_to_repeat(operation, observation)
    return OperationStep(action=Action.MEASURE, model_name=operation.model_name, options=same)


def _options_to_repeat(operation: Operation, observation: Observation) -> dict[str, object]:
    """The options of a loaded model as they are, or the backend would reload it."""
    resident = _present(observation, operation.model_name)
    if resident is None:
        raise Failure("not_loaded", f"{operation.model_name} is no longer loaded.")
    return current_options(operation, resident)


def current_options(operation: Operation, resident: ResidentModel | None) -> dict[str, object]:
    """The options that a model is loaded with: as Berth recorded them, else as far as the endpoint tells."""
    residency = _residency(operation, resident.name) if resident else None
    if residency is not None:
        return {key: value for key, value in residency.options.items() if key != "pinned"} | (
            {"pinned": True} if residency.pinned else {}
        )
    if resident is None:
        return {}
    honoured = operation.site.load_options
    observed = LoadOptions(
        context_length=resident.context_length if "context_length" in honoured else None,
        parallel=resident.parallel if "parallel" in honoured else None,
        keep_alive_seconds=-1 if resident.kept_forever and "keep_alive_seconds" in honoured else None,
    )
    return observed.given()


def _unload(operation: Operation, name: str, observation: Observation) -> OperationStep:
    resident = _present(observation, name)
    row = LoadedModel.objects.filter(endpoint=operation.site, name=name).first()
    measured = sum(row.gpu_bytes.values()) if row and row.gpu_bytes else None
    return OperationStep(
        action=Action.UNLOAD,
        model_name=name,
        options=current_options(operation, resident),
        expected_bytes=measured or (resident.vram_bytes if resident else None),
    )


def _restore(step: OperationStep) -> OperationStep:
    return OperationStep(
        action=Action.RESTORE, model_name=step.model_name, options=step.options, expected_bytes=step.expected_bytes
    )


def _clean_up(step: OperationStep) -> OperationStep:
    return OperationStep(action=Action.CLEAN_UP, model_name=step.model_name, expected_bytes=None)


def _has_left(step: OperationStep, observation: Observation | None) -> bool:
    if step.state == StepState.RUNNING:
        return observation is not None and _present(observation, step.model_name) is None
    return step.state == StepState.DONE


def _present(observation: Observation, name: str) -> ResidentModel | None:
    """The model if it is in memory to stay."""
    resident = observation.find(name)
    return None if resident is None or resident.state is ModelState.STOPPING else resident


def _residency(operation: Operation, name: str) -> Residency | None:
    return Residency.objects.filter(endpoint=operation.site, name=name, lost_at=None).first()
