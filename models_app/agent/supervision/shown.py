"""The variables by which a server sees some of the machine's GPUs and no others.

CUDA takes UUIDs. ROCm's runtime takes its own UUIDs or numbers (ROCR_VISIBLE_DEVICES), and HIP above it takes numbers among
those; without HIP_VISIBLE_DEVICES it would read CUDA's variable instead. Source: ROCm's "GPU isolation techniques".
"""

from __future__ import annotations

from models_app.backends.errors import InvalidOption
from models_app.probes.amd import is_amd, rocm_name

NONE = "-1"
"""A device that there is not."""


def shown(gpus: tuple[str, ...]) -> dict[str, str]:
    """The variables for GPUs by UUID; none is the CPU alone. Raises ``InvalidOption`` for one that ROCm does not list."""
    cards = [_rocm_name(uuid) for uuid in gpus if is_amd(uuid)]
    cuda = ",".join(uuid for uuid in gpus if not is_amd(uuid)) or NONE
    numbers = ",".join(map(str, range(len(cards)))) or NONE
    return {
        "CUDA_VISIBLE_DEVICES": cuda,
        "ROCR_VISIBLE_DEVICES": ",".join(cards) or NONE,
        "HIP_VISIBLE_DEVICES": numbers,
    }


def _rocm_name(uuid: str) -> str:
    found = rocm_name(uuid)
    if found is None:
        raise InvalidOption(f"ROCm's driver on this machine does not list {uuid}.", option="gpus")
    return found
