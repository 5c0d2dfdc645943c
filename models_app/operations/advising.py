"""What would make a load fit, and how many layers do: the estimator's advice, asked with this panel's evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from models_app.catalog.headers import stored_shape
from models_app.estimator.advice import Advice, advise, layers_that_fit
from models_app.estimator.server_fit import fitted, shrunk
from models_app.estimator.speed import Measured
from models_app.estimator.types import DeviceEstimate, DeviceKind, Estimate, EstimateError, Grade, LoadSettings
from models_app.operations.reckoned import Reckoning
from models_app.operations.reckoning import reckon
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject, with_settings

COUNTS_KEPT = 4096


def layer_count_of(subject: Subject) -> int | None:
    """The model's repeating layers; ``None`` where nobody knows."""
    told = _layers_of_header(subject.header) if subject.header else None
    return told or (subject.variant.layer_count if subject.variant else None)


@lru_cache(maxsize=COUNTS_KEPT)
def _layers_of_header(header: bytes) -> int | None:
    try:
        return stored_shape(header).layer_count
    except EstimateError:
        return None


def layers_that_fit_on(subject: Subject, room: Room) -> int | None:
    """The most layers that fit on one GPU beside its headroom; ``None`` where their number is not known."""
    layer_count = layer_count_of(subject)
    if layer_count is None or not room.uuid:
        return None
    try:
        return layers_that_fit(_Estimator(subject, [room]), subject.settings, layer_count, [room.available_bytes])
    except EstimateError:
        return None


def advice_for(subject: Subject, devices: Sequence[Room], measured: Measured | None = None) -> tuple[Advice, ...]:
    """What would make it fit on these devices, least harm first; nothing without GPUs or where the layers are unknown.

    ``measured`` are speeds of the model on these GPUs.
    """
    layer_count = layer_count_of(subject)
    gpus = [room for room in devices if room.uuid]
    if layer_count is None or not gpus:
        return ()
    quantization = subject.variant.quantization if subject.variant else ""
    free = [max(0, room.available_bytes) for room in gpus]
    try:
        return advise(_Estimator(subject, gpus), subject.settings, layer_count, free, quantization, measured)
    except EstimateError:
        return ()


def server_fit_note(subject: Subject, devices: Sequence[Room]) -> tuple[str, ...]:
    """What the server would change by itself to make the load fit on these devices; nothing where it would not."""
    layer_count, gpus = layer_count_of(subject), [room for room in devices if room.uuid]
    if subject.unset is None or layer_count is None or not gpus:
        return ()
    free = [max(0, room.free_bytes + room.freed_bytes) for room in gpus]
    try:
        chosen = fitted(_Plain(subject, gpus), subject.settings, subject.unset, layer_count, free, _has_experts(subject))
    except EstimateError:
        return ()
    note = shrunk(subject.settings, chosen, layer_count)
    return (note,) if note else ()


def _has_experts(subject: Subject) -> bool:
    return bool(subject.header) and stored_shape(subject.header).expert_count > 0


class _Estimator:
    """The subject's estimate as a function of the settings, each device with its share of the error band."""

    def __init__(self, subject: Subject, gpus: Sequence[Room]) -> None:
        self._subject = subject
        self._gpus = gpus

    def __call__(self, settings: LoadSettings) -> Estimate:
        reckoning = reckon(with_settings(self._subject, settings), self._gpus)
        devices = tuple(self._shown(device, reckoning) for device in reckoning.devices)
        host = DeviceEstimate("Host", DeviceKind.HOST_RAM, weights_bytes=reckoning.ram_bytes)
        return Estimate(reckoning.grade, reckoning.build_profile, (*devices, host), reckoning.error_bytes)

    def _shown(self, device: DeviceEstimate, reckoning: Reckoning) -> DeviceEstimate:
        return _banded(device, reckoning)


class _Plain(_Estimator):
    """The same without the error band, as a server's own planner sees it."""

    def _shown(self, device: DeviceEstimate, reckoning: Reckoning) -> DeviceEstimate:  # noqa: ARG002 - overridden
        return device


def _banded(device: DeviceEstimate, reckoning: Reckoning) -> DeviceEstimate:
    """A header's estimate must fit with its band; a rule of thumb's band is too wide for that."""
    if reckoning.grade is Grade.QUICK:
        return device
    return replace(device, overhead_bytes=device.overhead_bytes + reckoning.error_share(device))
