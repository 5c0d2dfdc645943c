"""Who may change a GPU's memory now: reservations, taken with the GPU rows locked in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models_app.backends.protocol import Observation
from models_app.inventory.models import Gpu, LoadedModel
from models_app.operations.devices import allowed_gpus
from models_app.operations.expected import Expected
from models_app.operations.facts import installed_subject
from models_app.operations.models import Operation, OperationStep
from models_app.operations.options import stored_options
from models_app.operations.outcomes import Failure, Outdated, Waiting
from models_app.operations.preview import judged
from models_app.operations.reservations import Reservation, own_bytes, reservations, used_by_gpu
from models_app.operations.rooms import Room, bytes_of, rooms
from models_app.operations.verdicts import FitPreview, Verdict
from models_app.probes.attribution import attribute
from models_app.probes.types import HostSample
from models_app.telemetry.attribution import endpoint_bytes

HIDDEN_BYTES = 512 * 1024**2
"""More than this on a GPU in no visible process: something there cannot be seen."""
_CHANGES_MEMORY = frozenset({OperationStep.Action.LOAD, OperationStep.Action.UNLOAD})


def admit(
    operation: Operation,
    steps: Sequence[OperationStep],
    sample: HostSample | None,
    observation: Observation | None = None,
    expected: Expected | None = None,
) -> None:
    """Reserve what the steps will take, with the estimate's whole band, unless an earlier runner has.

    ``observation`` is what the endpoint said with the sample, ``expected`` what was read of the model; without them the
    rows are asked. To be called inside a transaction. Raises ``Waiting`` while another operation is in the way,
    ``Outdated`` where one has ended since the sample was taken, and ``Failure`` (``does_not_fit``) where nobody is in the
    way and the memory does not suffice all the same.
    """
    if sample is None or not any(step.action in _CHANGES_MEMORY for step in steps):
        return
    if steps[0].pk and Reservation.objects.filter(operation=operation).exists():
        return
    gpus = _locked_gpus(operation, sample)
    reserved = reservations(sample, operation.pk)
    others = _running_beside(gpus, reserved)
    if others and not _can_tell_apart(operation, others, sample):
        raise Waiting(others[0].operation_id, f"GPU {others[0].gpu.index}")
    wanted = _wanted(operation, steps, sample, expected, reserved, others)
    _check_up_to_date(operation, sample)
    used, own = used_by_gpu(sample), own_bytes(operation, sample, observation)
    Reservation.objects.bulk_create(
        Reservation(
            operation=operation,
            gpu=gpu,
            reservation_bytes=wanted.get(gpu.uuid, 0),
            baseline_bytes=used[gpu.uuid],
            own_baseline_bytes=None if own is None else own.get(gpu.uuid, 0),
        )
        for gpu in gpus
    )


def _locked_gpus(operation: Operation, sample: HostSample) -> list[Gpu]:
    """The GPUs that the operation may change: the chosen ones, or all, for the endpoint decides among them."""
    allowed = allowed_gpus(operation.site, stored_options(operation.options))
    uuids = [uuid for uuid in used_by_gpu(sample) if allowed is None or uuid in allowed]
    rows = Gpu.objects.filter(host=operation.site.host_id, uuid__in=uuids)
    return list(rows.select_for_update().order_by("pk"))


def _running_beside(gpus: Sequence[Gpu], reserved: Iterable[Reservation]) -> list[Reservation]:
    ids = {gpu.pk for gpu in gpus}
    return [row for row in reserved if row.gpu_id in ids and row.operation.state == Operation.State.RUNNING]


def _can_tell_apart(operation: Operation, others: Sequence[Reservation], sample: HostSample) -> bool:
    """Whether the bytes of this operation and of each that runs beside it show, and showed when those began."""
    if any(row.own_baseline_bytes is None for row in others):
        return False
    return _all_visible([operation, *(row.operation for row in others)], sample)


def _all_visible(operations: Iterable[Operation], sample: HostSample) -> bool:
    if any(attribute(gpu, {}).unexplained_bytes > HIDDEN_BYTES for gpu in sample.gpus):
        return False
    return all(endpoint_bytes(operation.site, sample) is not None for operation in operations)


def _wanted(
    operation: Operation,
    steps: Sequence[OperationStep],
    sample: HostSample,
    expected: Expected | None,
    reserved: Sequence[Reservation],
    others: Sequence[Reservation],
) -> dict[str, int]:
    """By the GPU's UUID, the net rise of used bytes that the steps will cause: loads less unloads."""
    load = next((step for step in steps if step.action == OperationStep.Action.LOAD), None)
    if load is None:
        return {}
    unload = [step.model_name for step in steps if step.action == OperationStep.Action.UNLOAD]
    leaving = list(LoadedModel.objects.filter(endpoint=operation.site, name__in=unload)) if unload else []
    options = stored_options(load.options)
    subject = expected.subject if expected else installed_subject(operation.site, load.model_name, options)
    devices = rooms(sample, leaving, reserved)
    preview = judged(subject, devices, options.gpu, operation.site, leaving, load.model_name)
    _decide(operation, preview, others)
    freed = [bytes_of(model, list(used_by_gpu(sample))) for model in leaving]
    return {room.uuid: _promise(operation, room) - sum(part.get(room.uuid, 0) for part in freed) for room in preview.rooms}


def _promise(operation: Operation, room: Room) -> int:
    """The estimate with its band; never more than there is, unless somebody accepted that."""
    return room.reserve_bytes if operation.load_anyway else min(room.reserve_bytes, max(0, room.available_bytes))


def _check_up_to_date(operation: Operation, sample: HostSample) -> None:
    """A load that ended after the sample has taken its bytes and let go of its reservation: they would count as free.

    Looked for after the reservations were read, so that none can end in between unseen.
    """
    here = Operation.objects.filter(endpoint__host=operation.site.host_id, finished_at__gt=sample.taken_at)
    if here.exclude(pk=operation.pk).exists():
        raise Outdated


def _decide(operation: Operation, preview: FitPreview, others: Sequence[Reservation]) -> None:
    if preview.verdict is not Verdict.DOES_NOT_FIT or operation.load_anyway:
        return
    if others:
        raise Waiting(others[0].operation_id, f"GPU {others[0].gpu.index}")
    raise Failure("does_not_fit", preview.sentence)
