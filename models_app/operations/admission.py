"""Who may change a GPU's memory now: reservations, taken with the GPU rows locked in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models_app.inventory.models import Gpu, LoadedModel
from models_app.operations.devices import allowed_gpus
from models_app.operations.models import Operation, OperationStep, Reservation
from models_app.operations.options import stored_options
from models_app.operations.outcomes import Failure, Outdated, Waiting
from models_app.operations.preview import FitPreview, Verdict, fit_preview
from models_app.operations.rooms import Room, bytes_of, own_bytes, used_by_gpu
from models_app.probes.attribution import attribute
from models_app.probes.types import HostSample
from models_app.telemetry.attribution import endpoint_bytes

HIDDEN_BYTES = 512 * 1024**2
"""More than this on a GPU in no visible process: something there cannot be seen."""
_CHANGES_MEMORY = frozenset({OperationStep.Action.LOAD, OperationStep.Action.UNLOAD})


def admit(operation: Operation, steps: Sequence[OperationStep], sample: HostSample | None) -> None:
    """Reserve what the steps will take, with the estimate's whole band, unless an earlier runner has.

    To be called inside a transaction. Raises ``Waiting`` while another operation is in the way, ``Outdated`` where one has
    ended since the sample was taken, and ``Failure`` (``does_not_fit``) where nobody is in the way and the memory does not
    suffice all the same.
    """
    if sample is None or not any(step.action in _CHANGES_MEMORY for step in steps):
        return
    if Reservation.objects.filter(operation=operation).exists():
        return
    gpus = _locked_gpus(operation, sample)
    others = _running_beside(operation, gpus)
    if others and not _can_tell_apart(operation, others, sample):
        raise Waiting(others[0].operation_id, f"GPU {others[0].gpu.index}")
    wanted = _wanted(operation, steps, sample, others)
    _check_up_to_date(operation, sample)
    used, own = used_by_gpu(sample), own_bytes(operation, sample)
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
    rows = Gpu.objects.filter(host=operation.site.host_id, uuid__in=uuids).select_related("host")
    return list(rows.select_for_update(of=("self",)).order_by("pk"))


def _running_beside(operation: Operation, gpus: Sequence[Gpu]) -> list[Reservation]:
    rows = Reservation.objects.filter(gpu__in=gpus, operation__state=Operation.State.RUNNING)
    return list(rows.exclude(operation=operation).select_related("gpu", "operation__endpoint__host").order_by("pk"))


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
    operation: Operation, steps: Sequence[OperationStep], sample: HostSample, others: Sequence[Reservation]
) -> dict[str, int]:
    """By the GPU's UUID, the net rise of used bytes that the steps will cause: loads less unloads."""
    unload = [step.model_name for step in steps if step.action == OperationStep.Action.UNLOAD]
    leaving = list(LoadedModel.objects.filter(endpoint=operation.site, name__in=unload))
    load = next((step for step in steps if step.action == OperationStep.Action.LOAD), None)
    if load is None:
        return {}
    preview = fit_preview(
        operation.site,
        load.model_name,
        stored_options(load.options),
        unload=leaving,
        sample=sample,
        operation_id=operation.pk,
    )
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
