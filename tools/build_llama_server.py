"""Builds the llama-server that the tests run against, and prints where it is.

    python tools/build_llama_server.py

The sources are llama.cpp as packed in the sdist of llama-cpp-python, fetched by pip and checked against the hash below.
The build is for the CPU only, static, and optimised to be short rather than fast (``llama_server.cmake`` says how): the
tests' models are small. It needs a C and a C++ compiler; CMake and Ninja come from PyPI where the machine has none. The
result stays in ``.cache/llama-server/<version>/bin``, and a second call prints the path at once. ``BERTH_LLAMA_SERVER``
names a binary to use instead. An interrupted build goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

VERSION = "0.3.36"
SOURCES = f"llama-cpp-python=={VERSION} --hash=sha256:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
BUILD_TOOLS = {
    "cmake": "cmake==4.4.4"
    " --hash=sha256:f773a0544c66370408f451acd487c2c643b0dfebb48c5d64f3638bc1bb820238"  # x86_64
    " --hash=sha256:b3029f586853e01ddf2824c1ff124a1c5284f8ae897994758e9c4eeb45903b58",  # aarch64
    "ninja": "ninja==1.13.2"
    " --hash=sha256:65a24341b5ac09fcadcc37082660be40a94174e51a937fabf6e2cae26225fa2c"  # x86_64
    " --hash=sha256:d775a5e43e9088f507a6250d57fcf5678eb31268c545feb5064ffeee33735622",  # aarch64
}
ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cache" / "llama-server" / VERSION
WORK = HOME / "build"
BINARIES = ("llama-server", "llama-fit-params")
CMAKE_OPTIONS = (
    f"CMAKE_PROJECT_llama.cpp_INCLUDE={ROOT / 'tools' / 'llama_server.cmake'}",
    "CMAKE_BUILD_TYPE=Release",
    "CMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG",
    "CMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG",
    "BUILD_SHARED_LIBS=OFF",
    "GGML_NATIVE=OFF",
    "GGML_OPENMP=OFF",
    "GGML_ALL_WARNINGS=OFF",
    "LLAMA_ALL_WARNINGS=OFF",
    "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF",
    "LLAMA_BUILD_APP=OFF",
    "LLAMA_BUILD_UI=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF",
    "LLAMA_BUILD_TOOLS=ON",
    "LLAMA_BUILD_SERVER=ON",
    "LLAMA_OPENSSL=OFF",
)
PROGRESS_SECONDS = 15


def installed_binary(environment: dict[str, str] | os._Environ[str] = os.environ) -> Path | None:
    """The llama-server to test against, or ``None`` if there is none yet.

    Raises ``FileNotFoundError`` if ``BERTH_LLAMA_SERVER`` is set and names no executable file.
    """
    chosen = environment.get("BERTH_LLAMA_SERVER")
    if chosen:
        if not os.access(chosen, os.X_OK) or not Path(chosen).is_file():
            raise FileNotFoundError(f"BERTH_LLAMA_SERVER names no executable file: {chosen}")
        return Path(chosen).resolve()
    built = HOME / "bin" / "llama-server"
    return built if built.is_file() else None


def main() -> None:
    """Print the path of the binary, after building it where there is none."""
    try:
        binary = installed_binary() or _build_alone()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    print(binary)  # noqa: T201


def _build_alone() -> Path:
    """Build under a lock: of two calls at once, the second waits for the first and takes its result."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return installed_binary() or _build()


def _build() -> Path:
    compilers = [name for name in ("cc", "c++") if not shutil.which(name)]
    if compilers:
        raise FileNotFoundError(f"no compiler ({' or '.join(compilers)}): install gcc and g++, then run this again")
    WORK.mkdir(exist_ok=True)
    environment = os.environ | {"PATH": _path_with_build_tools()}
    sources = _fetch_sources()
    tree = WORK / "tree"
    options = [f"-D{option}" for option in CMAKE_OPTIONS]
    _run("Configuring", ["cmake", "-G", "Ninja", "-S", str(sources), "-B", str(tree), *options], environment)
    at_once = str(os.cpu_count() or 1)  # Ninja's own choice, two more, would cost 2 GB
    _run("Compiling", ["cmake", "--build", str(tree), "--parallel", at_once, "--target", *BINARIES], environment)
    (HOME / "bin").mkdir(exist_ok=True)
    # llama-server comes last: its presence says that the whole is there.
    for name in reversed(BINARIES):
        _run("Stripping", ["strip", str(tree / "bin" / name)], environment)
        (tree / "bin" / name).replace(HOME / "bin" / name)
    shutil.rmtree(WORK)
    return HOME / "bin" / "llama-server"


def _path_with_build_tools() -> str:
    """``PATH`` with CMake and Ninja on it, taken from PyPI where the machine lacks them."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    missing = [requirement for name, requirement in BUILD_TOOLS.items() if not shutil.which(name, path=path)]
    if not missing:
        return path
    target = WORK / "tools"
    # The wheel's own bin/cmake is a Python script that finds its package only in a virtual environment.
    directories = [target / "cmake" / "data" / "bin", target / "bin"]
    _pip(["install", "--target", str(target), "--only-binary", ":all:"], missing)
    return os.pathsep.join([*map(str, directories), path])


def _fetch_sources() -> Path:
    sources = WORK / f"llama_cpp_python-{VERSION}"
    if not sources.is_dir():
        _pip(["download", "--dest", str(WORK), "--no-deps", "--no-binary", "llama-cpp-python"], [SOURCES])
        unpacked = WORK / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(WORK / f"{sources.name}.tar.gz") as archive:
            archive.extractall(unpacked, filter="data")
        (unpacked / sources.name).rename(sources)
    return sources / "vendor" / "llama.cpp"


def _pip(command: list[str], requirements: list[str]) -> None:
    """Run pip with requirements that carry hashes: it refuses a file that has another."""
    listed = WORK / "requirements.txt"
    listed.write_text("\n".join(requirements) + "\n")
    arguments = [sys.executable, "-m", "pip", *command, "--quiet", "--disable-pip-version-check", "--require-hashes"]
    _run("Fetching " + ", ".join(line.split()[0] for line in requirements), [*arguments, "-r", str(listed)], os.environ)


def _run(what: str, command: list[str], environment: dict[str, str] | os._Environ[str]) -> None:
    """Run one step, saying how far it is. Raises ``CalledProcessError`` if it fails, after the end of its output."""
    log = WORK / "log"
    started = time.monotonic()
    _say(f"{what} …")
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        while True:
            try:
                status = process.wait(PROGRESS_SECONDS)
                break
            except subprocess.TimeoutExpired:
                _say(f"{what}: {time.monotonic() - started:.0f} s, {_last_line(log)}")
    if status:
        _say(log.read_text(errors="replace")[-4000:])
        raise subprocess.CalledProcessError(status, command)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1][:100] if lines else "no output yet"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
