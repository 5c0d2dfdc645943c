"""What does a sample of eight GPUs cost, in driver calls and in CPU, beside nvitop and gpustat?

python -m benchmarks.probe_cost

Each program samples the same stand-in driver in a process of its own, in the same Python with the same ``nvidia-ml-py``;
the stand-in counts the calls. The two peers come from PyPI into a virtual environment that is thrown away. A call that the
stand-in does not offer is not counted, which favours the peers. The CPU holds the stand-in's own work, a file that is read
at every call, so it is given per call, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks._harness import ROOT
from tests.native.build import build_nvml_stub

GPUS, SAMPLES, WARM_UP = 8, 40, 3
PEERS = ("nvitop==1.7.2", "gpustat==1.1.1")
LOOP = """
import os, sys, time
{prepare}
for _ in range({warm_up}):
    {sample}
open(os.environ["CALLS"], "w").close()
began = time.process_time()
for _ in range({samples}):
    {sample}
print((time.process_time() - began) / {samples})
"""
PROGRAMS = {
    "Berth": (
        "from models_app.probes.host import LocalProbe; probe = LocalProbe()",
        "assert len(probe.sample().gpus) == 8",
    ),
    "nvitop": (
        "from nvitop import Device; devices = Device.all(); assert len(devices) == 8",
        "[(device.as_snapshot(), device.processes()) for device in devices]",
    ),
    "gpustat": ("import gpustat", "assert len(gpustat.new_query().gpus) == 8"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = peers(folder / "venv")
        library = build_nvml_stub(folder / "driver")
        costs = {program: measured(program, python, library, folder) for program in PROGRAMS}
    ours = costs["Berth"]
    print(f"a sample of {GPUS} GPUs, mean of {SAMPLES}")
    for program, (calls, seconds, most) in costs.items():
        ratio = f"{calls / ours[0]:.1f} x the calls, {seconds / ours[1]:.1f} x the CPU"
        print(f"{program:8} {calls:6.1f} calls, {1000 * seconds:7.2f} ms of CPU  ({ratio}; most often {most})")


def peers(folder: Path) -> Path:
    """A Python that has them, with the packages of this one behind: the binding's version is then the same."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=60)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS], check=True, timeout=300)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "berth.pth").write_text(f"{here}\n{ROOT}\n")
    return python


def measured(program: str, python: Path, library: Path, folder: Path) -> tuple[float, float, str]:
    """Calls and seconds of CPU for a sample, and the call that is made most often."""
    prepare, sample = PROGRAMS[program]
    log, state = folder / "calls.log", folder / "nvml.conf"
    state.write_text(f"count={GPUS}\nlog={log}\n" + "".join(f"gpu{gpu}.proc={os.getpid()}:512\n" for gpu in range(GPUS)))
    code = LOOP.format(prepare=prepare, sample=sample, samples=SAMPLES, warm_up=WARM_UP)
    environment = {"LD_LIBRARY_PATH": str(library.parent), "NVML_STUB_FILE": str(state), "CALLS": str(log)}
    done = subprocess.run(
        [python, "-c", code], env=os.environ | environment, check=True, timeout=300, capture_output=True, text=True
    )
    calls = Counter(line.split()[0] for line in log.read_text().splitlines())
    [(most, count)] = calls.most_common(1)
    return sum(calls.values()) / SAMPLES, float(done.stdout.split()[-1]), f"{most} {count / SAMPLES:.0f}"


if __name__ == "__main__":
    main()
