"""AMD GPUs as the kernel's driver shows them in sysfs: no library is needed, and none is loaded.

Source: the kernel's ``Documentation/gpu/amdgpu/driver-misc.rst`` and ``thermal.rst``. Who holds the memory is not told
there, so processes are ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models_app.probes.deadline import BoundedCall
from models_app.probes.types import GpuDetail, GpuSample, GpuState

SYSFS = Path("/sys")
AMD = "0x1002"
PREFIX = "AMD-"
_SERIAL = re.compile(r"[0-9a-f]{16}")
DEADLINE_SECONDS = 0.5
_NO_ANSWER = "The kernel's driver for this GPU does not answer; the figures are the last known."
_GENERATIONS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
"""A PCIe generation by its GT/s."""


class AmdGpus:
    """Sweeps every AMD GPU. One caller at a time; a read that hangs costs one deadline, once."""

    def __init__(self, root: Path = SYSFS, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._root = root
        self._latest: tuple[GpuSample, ...] = ()
        self._reading = BoundedCall(self._read, "amd", deadline_seconds)

    def sweep(self, first_index: int = 0) -> tuple[GpuSample, ...]:
        """Every card, numbered from ``first_index`` on in the order of the kernel's numbers."""
        self._reading.begin()
        try:
            self._latest = self._reading.result()
        except TimeoutError:
            return tuple(_numbered(gpu, first_index, GpuState.WEDGED, _NO_ANSWER) for gpu in self._latest)
        return tuple(_numbered(gpu, first_index, gpu.state, gpu.reason) for gpu in self._latest)

    def _read(self) -> tuple[GpuSample, ...]:
        return tuple(_read_card(device, index) for index, device in enumerate(self._devices()))

    def _devices(self) -> Iterator[Path]:
        cards = [path for path in self._root.glob("class/drm/card*") if re.fullmatch(r"card\d+", path.name)]
        for card in sorted(cards, key=lambda path: int(path.name.removeprefix("card"))):
            device = card / "device"
            if _text(device / "vendor") == AMD and _number(device / "mem_info_vram_total"):
                yield device


def _numbered(gpu: GpuSample, first_index: int, state: GpuState, reason: str) -> GpuSample:
    return replace(gpu, index=first_index + gpu.index, state=state, reason=reason)


def _read_card(device: Path, index: int) -> GpuSample:
    total_bytes = _number(device / "mem_info_vram_total") or 0
    used_bytes = _number(device / "mem_info_vram_used")
    sensors = next(iter(sorted(device.glob("hwmon/hwmon*"))), device)
    return GpuSample(
        uuid=_uuid(device),
        index=index,
        name=_text(device / "product_name") or f"AMD GPU {_text(device / 'device')}".strip(),
        state=GpuState.ERROR if used_bytes is None else GpuState.OK,
        reason="Its used memory cannot be read." if used_bytes is None else "",
        total_bytes=total_bytes,
        used_bytes=used_bytes or 0,
        free_bytes=max(0, total_bytes - (used_bytes or 0)),
        utilization_percent=_number(device / "gpu_busy_percent"),
        temperature_celsius=_divided(sensors / "temp1_input", 1000),
        power_milliwatts=_divided(sensors / "power1_average", 1000) or _divided(sensors / "power1_input", 1000),
        power_limit_milliwatts=_divided(sensors / "power1_cap", 1000),
        processes=None,
        detail=GpuDetail(
            graphics_clock_mhz=_divided(sensors / "freq1_input", 1_000_000),
            memory_clock_mhz=_divided(sensors / "freq2_input", 1_000_000),
            pcie_generation=_generation(device / "current_link_speed"),
            pcie_generation_max=_generation(device / "max_link_speed"),
            pcie_width=_number(device / "current_link_width"),
            pcie_width_max=_number(device / "max_link_width"),
        ),
    )


def _uuid(device: Path) -> str:
    """The card's own serial number where it has one, else its place in the machine."""
    slot = re.search(r"^PCI_SLOT_NAME=(\S+)", _text(device / "uevent"), re.MULTILINE)
    return f"{PREFIX}{_text(device / 'unique_id') or (slot[1] if slot else device.parent.name)}"


def is_amd(uuid: str) -> bool:
    """Whether this is a UUID that ``AmdGpus`` gave."""
    return uuid.startswith(PREFIX)


def rocm_name(uuid: str, root: Path = SYSFS) -> str | None:
    """What ROCm's runtime calls the card: its own UUID, made from the same serial number, else its number there.

    ``None`` where the compute driver does not list the card. Nodes of the topology without shader cores are processors.
    """
    name = uuid.removeprefix(PREFIX)
    if _SERIAL.fullmatch(name):
        return f"GPU-{name}"
    nodes = sorted(root.glob("class/kfd/kfd/topology/nodes/*/properties"), key=lambda path: int(path.parent.name))
    found = [dict(re.findall(r"^(\w+) (\d+)$", _text(node), re.MULTILINE)) for node in nodes]
    places = [_place(node) for node in found if int(node.get("simd_count", 0))]
    return str(places.index(name)) if name in places else None


def _place(node: dict[str, str]) -> str:
    """The PCI slot as the kernel writes it; a location is the bus, the device in five bits, the function in three."""
    location, domain = int(node.get("location_id", 0)), int(node.get("domain", 0))
    return f"{domain:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def _generation(path: Path) -> int | None:
    speed = re.match(r"[\d.]+", _text(path))
    return _GENERATIONS.get(speed[0]) if speed else None


def _divided(path: Path, divisor: int) -> int | None:
    value = _number(path)
    return None if value is None else round(value / divisor)


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
