"""Writes down what a verified load took, so that the next estimate of the same model starts from it.

The rows are read while the server loads, so that a success waits for nothing but the reckoning.

Bytes of the model's own process are its own, whatever happens beside it. A rise of the whole GPU is this load's only while
nobody else moves: otherwise the measurement is kept, named an outlier, and nothing is learnt from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from models_app.backends.protocol import ResidentModel
from models_app.catalog.models import Variant
from models_app.operations.expected import Expected
from models_app.operations.facts import Facts, facts_of
from models_app.operations.measurements import LoadMeasurement
from models_app.operations.models import Operation, OperationStep
from models_app.operations.options import stored_options
from models_app.operations.outcomes import Outcome
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import gpu_names, reckon_unlearned
from models_app.operations.refusals import RequestRefused
from models_app.operations.reservations import reservations
from models_app.operations.rooms import Room, rooms
from models_app.operations.subject import Subject, settings_key
from models_app.operations.verify import PARTLY_SHARE
from models_app.operations.wording import gib
from models_app.probes.types import GpuSample, HostSample

LEARNT_FROM = frozenset({"process", "gpu"})
MOVED_BYTES = 64 * 1024**2
"""What other processes may change by without counting as moved: desktops and drivers breathe."""
LEAST_GPU_SHARE = 0.01
"""A GPU with less of the rise than this has no part in the load."""
SPILLED_SHARE = 0.85
"""Less than this share of the estimate, where the endpoint says that a part is in RAM: it was not loaded as asked."""
FAR_SHARE = 0.25
"""Further than this from the estimate a rise is not believed where no process list says who it was."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is known of a load before it has ended: the model, the sample from before, and its devices."""

    facts: Facts
    before: HostSample
    rooms: Sequence[Room]


def lesson_of(
    operation: Operation, step: OperationStep, before: HostSample | None, expected: Expected | None
) -> Lesson | None:
    """Read what a load that begins at ``before`` can teach; ``None`` where nothing is measured.

    ``expected`` is what admission knew of the operation's own model.
    """
    if before is None:
        return None
    is_known = expected is not None and step.model_name == operation.model_name
    facts = expected.facts if expected and is_known else facts_of(operation.site, step.model_name)
    return Lesson(replace(facts, measurements=()), before, rooms(before, [], reservations(before, operation.pk)))


def learn(lesson: Lesson | None, operation: Operation, step: OperationStep, outcome: Outcome) -> None:
    """Save the measurement of a load, where there is one."""
    if measurement := learnt(lesson, operation, step, outcome):
        measurement.save()


def learnt(lesson: Lesson | None, operation: Operation, step: OperationStep, outcome: Outcome) -> LoadMeasurement | None:
    """The measurement of a load; ``None`` where nothing was measured. Reads no rows."""
    resident = outcome.observation.find(step.model_name) if outcome.observation else None
    if lesson is None or resident is None or outcome.verified_by not in LEARNT_FROM:
        return None
    subject = _as_loaded(lesson.facts, step, resident)
    gpus = _gpus_of(outcome.gpu_bytes, lesson.rooms)
    if subject is None or subject.variant is None or not gpus:
        return None
    reckoning = reckon_unlearned(subject, gpus)
    if not reckoning.needed_bytes:
        return None
    why = _outlier_reason(outcome, resident, reckoning, lesson.before, gpus)
    return _measurement(operation, step, subject.variant, subject, reckoning, outcome, gpus, why)


def _as_loaded(facts: Facts, step: OperationStep, resident: ResidentModel) -> Subject | None:
    """The subject with the context that the endpoint really chose; ``None`` for options that it should have refused."""
    options = stored_options(step.options)
    options = replace(options, context_length=resident.context_length or options.context_length)
    try:
        return facts.subject(options)
    except RequestRefused:
        return None


def _gpus_of(gpu_bytes: Mapping[str, int], devices: Sequence[Room]) -> list[Room]:
    least_bytes = LEAST_GPU_SHARE * sum(gpu_bytes.values())
    return [room for room in devices if room.uuid and gpu_bytes.get(room.uuid, 0) > least_bytes]


def _outlier_reason(
    outcome: Outcome, resident: ResidentModel, reckoning: Reckoning, before: HostSample, gpus: Sequence[Room]
) -> str:
    """Why the figure is not that of this load alone, as it was asked for; empty where it is."""
    measured_bytes, needed_bytes = outcome.moved_bytes or 0, reckoning.needed_bytes or 0
    is_partly = resident.vram_bytes is not None and resident.size_bytes is not None
    is_partly = is_partly and (resident.vram_bytes or 0) < PARTLY_SHARE * (resident.size_bytes or 0)
    if is_partly and measured_bytes < SPILLED_SHARE * needed_bytes:
        return "A part of the model was put into host RAM."
    if outcome.verified_by == "process":
        return ""
    after = {gpu.uuid: gpu for gpu in outcome.sample.gpus} if outcome.sample else {}
    pairs = [(gpu, after[gpu.uuid]) for gpu in before.gpus if gpu.uuid in after]
    if any(_hides_processes(gpu) for pair in pairs for gpu in pair):
        is_far = abs(measured_bytes - needed_bytes) > max(3 * reckoning.error_bytes, FAR_SHARE * needed_bytes)
        return "Far from the estimate, and no process list says who moved." if is_far else ""
    moved_bytes = sum(_moved_bytes(*pair) for pair in pairs if pair[0].uuid in {room.uuid for room in gpus})
    return f"Other processes moved {gib(moved_bytes)} meanwhile." if moved_bytes > MOVED_BYTES else ""


def _hides_processes(gpu: GpuSample) -> bool:
    return gpu.processes is None or any(process.used_bytes is None for process in gpu.processes)


def _moved_bytes(before: GpuSample, after: GpuSample) -> int:
    """How much changed hands on a GPU besides the one new process that holds most: the model's."""
    was, now = _by_pid(before), _by_pid(after)
    new = [held for pid, held in now.items() if pid not in was]
    others_bytes = sum(abs(now.get(pid, 0) - held) for pid, held in was.items())
    return others_bytes + sum(new) - max(new, default=0)


def _by_pid(gpu: GpuSample) -> dict[int, int]:
    return {process.pid: process.used_bytes or 0 for process in gpu.processes or ()}


def _measurement(
    operation: Operation,
    step: OperationStep,
    variant: Variant,
    subject: Subject,
    reckoning: Reckoning,
    outcome: Outcome,
    gpus: Sequence[Room],
    outlier_reason: str,
) -> LoadMeasurement:
    endpoint = operation.site
    predicted = operation.estimate if step.action == OperationStep.Action.LOAD else {}
    return LoadMeasurement(
        variant=variant,
        endpoint=endpoint,
        backend_kind=endpoint.kind,
        backend_mode=endpoint.mode,
        backend_version=endpoint.version,
        build_profile=subject.profile.name,
        gpu_names=gpu_names(gpus),
        settings=asdict(subject.settings),
        settings_key=settings_key(subject.settings),
        context_length=subject.settings.context_length,
        devices=[asdict(device) for device in reckoning.devices],
        estimated_bytes=reckoning.needed_bytes or 0,
        kv_bytes=sum(device.kv_bytes for device in reckoning.devices),
        compute_bytes=reckoning.compute_bytes,
        grade=predicted.get("grade", reckoning.grade.value),
        predicted_bytes=predicted.get("needed_bytes"),
        predicted_error_bytes=predicted.get("error_bytes"),
        measured={room.uuid: outcome.gpu_bytes.get(room.uuid, 0) for room in gpus},
        measured_bytes=outcome.moved_bytes or 0,
        verified_by=outcome.verified_by,
        is_outlier=bool(outlier_reason),
        outlier_reason=outlier_reason,
    )
