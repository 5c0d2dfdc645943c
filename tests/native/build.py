"""Compiles the stand-in NVML library.

``python -m tests.native.build FOLDER`` writes ``FOLDER/libnvidia-ml.so.1`` and prints its path. A process that is
started with ``LD_LIBRARY_PATH=FOLDER`` and ``NVML_STUB_FILE=state.conf`` then sees the GPUs of that file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("nvml_stub.c")


def build_nvml_stub(folder: Path) -> Path:
    """The library's path in ``folder``, which is made when missing. Raises CalledProcessError with gcc's words."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / SONAME
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{SONAME}"]
    subprocess.run(["gcc", *flags, "-o", library, SOURCE, "-lpthread"], check=True, timeout=60)
    return library


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.native.build FOLDER")
    sys.stdout.write(f"{build_nvml_stub(Path(sys.argv[1]))}\n")
