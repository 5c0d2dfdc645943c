"""What a GPU shows by itself: its memory is nearly full, it is hot, or it is gone."""

from __future__ import annotations

from collections.abc import Iterator

from models_app.alerts.rules.facts import Facts
from models_app.alerts.rules.findings import Action, Figure, Limits, Reading, Rule, Severity, Subject, Unit
from models_app.alerts.rules.fleet import GpuFacts, HostFacts, ModelFacts
from models_app.alerts.rules.past import Past
from models_app.alerts.rules.subjects import of_gpu, unload
from models_app.operations.wording import gib
from models_app.probes.types import GpuState, PoolKind


def _is_known(host: HostFacts, gpu: GpuFacts) -> bool:
    return gpu.is_measured and not host.is_stale


def _full(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past
    for host, gpu in facts.gpus():
        usable_bytes = gpu.total_bytes - gpu.driver_reserved_bytes
        if gpu.pool is not PoolKind.VRAM or usable_bytes <= 0:
            continue
        percent = 100 * gpu.used_bytes / usable_bytes
        if percent <= limits.clear_at and _is_known(host, gpu):
            yield Reading(of_gpu(host, gpu), percent)
            continue
        models = host.models_on(gpu)
        yield Reading(
            of_gpu(host, gpu),
            percent if _is_known(host, gpu) else None,
            f"{gib(gpu.used_bytes)} of {gib(usable_bytes)} are in use, {gib(gpu.free_bytes)} are free.",
            (
                Figure("In use", gpu.used_bytes, Unit.BYTES),
                Figure("Free", gpu.free_bytes, Unit.BYTES),
                Figure("Unexplained", gpu.unexplained_bytes, Unit.BYTES),
                Figure("Models", len(models)),
            ),
            "Unload a model that nobody needs now. The next load here is refused, or lies partly in host RAM.",
            _largest_unload(gpu, models),
        )


def _largest_unload(gpu: GpuFacts, models: list[ModelFacts]) -> Action | None:
    free_to_go = [model for model in models if model.can_unload and not model.pinned and model.operation_id is None]
    largest = max(free_to_go, key=lambda model: model.gpu_bytes.get(gpu.uuid, 0), default=None)
    return unload(largest) if largest else None


VRAM_FULL = Rule(
    "vram_full",
    "VRAM nearly full",
    "The share of a GPU's memory in use, without what the driver keeps. Beyond the limit the next load or a growing cache "
    "fails.",
    Severity.WARNING,
    Unit.PERCENT,
    Limits(90, 85, 60),
    _full,
)


def _hot(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past
    for host, gpu in facts.gpus():
        celsius = gpu.temperature_celsius
        if celsius is None:
            continue
        if celsius <= limits.clear_at and _is_known(host, gpu):
            yield Reading(of_gpu(host, gpu), celsius)
            continue
        figures = [Figure("Temperature", celsius, Unit.CELSIUS)]
        if gpu.utilization_percent is not None:
            figures.append(Figure("Utilisation", gpu.utilization_percent, Unit.PERCENT))
        yield Reading(
            of_gpu(host, gpu),
            celsius if _is_known(host, gpu) else None,
            f"{celsius} °C: the GPU slows itself down before it takes harm.",
            tuple(figures),
            "Check the fans, the air that comes in, and the power limit (nvidia-smi -q -d PERFORMANCE says what slows it).",
        )


TEMPERATURE = Rule(
    "gpu_hot",
    "GPU too hot",
    "The temperature of a GPU's core, as its driver tells it. Most cards slow down from 83 to 90 °C.",
    Severity.WARNING,
    Unit.CELSIUS,
    Limits(87, 82, 60),
    _hot,
)

_STATES = {
    GpuState.LOST: ("is lost to its driver", "Reset it (nvidia-smi --gpu-reset) or reboot the host; dmesg shows the Xid."),
    GpuState.WEDGED: ("does not answer its driver", "A driver call hangs. Look for Xid lines in dmesg; a reboot frees it."),
    GpuState.ERROR: ("answers with an error", "The reason is the driver's own; a reboot of the host mostly helps."),
}


def _lost(facts: Facts, past: Past, limits: Limits) -> Iterator[Reading]:
    del past, limits
    for host, gpu in facts.gpus():
        if gpu.state is GpuState.OK:
            yield Reading(of_gpu(host, gpu), None if host.is_stale else 0)
            continue
        what, advice = _STATES[gpu.state]
        sentence = f"{gpu.name} {what}. {gpu.reason}".strip()
        value = None if host.is_stale else 1
        yield Reading(of_gpu(host, gpu), value, sentence, (Figure("Models on it", len(host.models_on(gpu))),), advice)
    for absent in facts.absent_gpus:
        subject = Subject(f"gpu:{absent.uuid}", f"{absent.host_name} · GPU {absent.index}", absent.host_id)
        sentence = f"{absent.name} is not listed any more. {absent.reason}"
        yield Reading(subject, 1, sentence, (), "If it was taken out, mute this for good; else look into dmesg for an Xid.")


GPU_LOST = Rule(
    "gpu_lost",
    "GPU lost",
    "A GPU that its driver reports as lost, that hangs, or that has vanished from the list while its host is measured.",
    Severity.CRITICAL,
    Unit.NONE,
    Limits(1, 0, 10),
    _lost,
)
