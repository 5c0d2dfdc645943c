"""Run llama-server on sparse models of true shapes and read its buffers from its log."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path

from models_app.estimator.header import header_estimate
from models_app.estimator.types import DeviceEstimate, LoadSettings
from models_app.gguf.header import GgufHeader
from tests.ports import free_port
from tests.tools.model_shapes import header_of, write_model

MODELS = (
    "llama-3.2-1b", "qwen2.5-0.5b", "qwen3-4b", "qwen3-30b-a3b", "gemma2-2b", "gemma3-1b", "gemma4-e4b", "phi-2",
    "phi-3-mini", "minicpm3", "gpt-oss-20b", "deepseek-v2-lite", "command-r7b", "starcoder2-7b", "falcon-h1-7b",
    "jamba-mini", "granite-4-h-tiny", "mamba-2.8b", "mamba2-2.7b", "lfm2-1.2b", "glm-4-9b", "qwen3.5-4b", "nemotron-h-8b",
)  # fmt: skip
SETTINGS = (
    LoadSettings(context_length=4096),
    LoadSettings(context_length=3000, parallel=3, flash_attention=True),
    LoadSettings(context_length=8192, parallel=4, unified_kv=True, cache_type_k="q8_0", cache_type_v="q8_0"),
)
MOST_BYTES = 11 * 1024**3
CUT_LAYERS = 8
"""Larger models are cut to their first layers: the server maps the whole file, hole or not."""
START_SECONDS = 90
LOGGED_STEP = 0.0051
"""MiB by which a figure in the log is off for its two decimals."""
_BUFFER = re.compile(r"(?P<name>\S+)\s+(?P<kind>model|KV|RS|compute) buffer size =\s+(?P<mib>[\d.]+) MiB")


def compare_with_server(binary: Path) -> dict[str, list[float]]:
    """Relative errors by term, over every model and setting that the server takes. Nothing else is compared."""
    errors: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            layers = CUT_LAYERS if header_of(name).weights_bytes > MOST_BYTES else 0
            path = write_model(name, Path(folder) / f"{name}.gguf", layers)
            for settings in SETTINGS:
                _compare(binary, path, header_of(name, layers), settings, errors)
            path.unlink()
    return errors


def _compare(binary: Path, path: Path, header: GgufHeader, settings: LoadSettings, errors: dict[str, list[float]]) -> None:
    name = path.stem
    logged = buffers(binary, path, settings)
    if not logged:
        print(f"  {name}: the server refuses {settings.cache_type_k} caches or this model")
        return
    (host,) = header_estimate(header, settings, gpu_bytes=[]).devices
    for kind, size in _terms(host).items():
        if logged.get(kind):
            error = abs(size / 1024**2 - logged[kind])
            errors[kind].append(0.0 if error < LOGGED_STEP else error / logged[kind])
            if errors[kind][-1] > 0.001:
                print(f"  {name}, {kind}: {size / 1024**2:.2f} MiB, logged {logged[kind]:.2f}")


def _terms(host: DeviceEstimate) -> dict[str, int]:
    return {
        "model": host.weights_bytes,
        "KV": host.kv_bytes,
        "RS": host.recurrent_bytes,
        "compute": host.compute_bytes,
    }


def buffers(binary: Path, path: Path, settings: LoadSettings) -> dict[str, float]:
    """The sums of the buffers that the server logs, in MiB, by kind; empty where it does not start."""
    port = free_port()
    command = [
        str(binary), "-m", str(path), "--host", "127.0.0.1", "--port", str(port), "-lv", "4", "--no-warmup",
        "--no-repack", "--fit", "off",
        "-c", str(settings.total_context), "-np", str(settings.parallel),
        "-b", str(settings.batch), "-ub", str(settings.ubatch),
        "-ctk", settings.cache_type_k, "-ctv", settings.cache_type_v,
        *(["-kvu"] if settings.unified_kv else []),
        *(["-fa", "on"] if settings.flash_attention else []),
    ]  # fmt: skip
    log = path.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(process, port)
        finally:
            process.terminate()
            process.wait(timeout=30)
    sums: dict[str, float] = defaultdict(float)
    for match in _BUFFER.finditer(log.read_text(errors="replace")):
        sums[match["kind"]] += float(match["mib"])
    return dict(sums) if "compute" in sums else {}


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
