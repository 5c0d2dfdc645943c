"""Feed mutated headers to the reader, and what it accepts to the estimator. Not collected by pytest; needs ``atheris``.

    python -m tests.gguf.fuzz_reader CORPUS_FOLDER [--estimate] [libFuzzer options, e.g. -max_total_time=3600]

The folder is filled with headers of many architectures and every value type where it is empty. Anything but the
package's own errors, more than 10 s for one input, or more than 512 MiB of memory ends the run and keeps the input.
"""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["models_app.gguf", "models_app.estimator"]):
    from models_app.estimator.header import header_estimate
    from models_app.estimator.types import EstimateError, LoadSettings
    from models_app.gguf.errors import GgufError
    from models_app.gguf.reader import fetch_header

from tests.tools.model_shapes import metadata_of, model_names, tensors_of
from tests.tools.sparse_gguf import encode_header

LIMITS = ["-rss_limit_mb=512", "-timeout=10", "-max_len=16384", "-print_final_stats=1"]
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def read(data: bytes) -> None:
    """The reader refuses an input or returns what it holds."""
    with suppress(GgufError):
        fetch_header(lambda offset, length: data[offset : offset + length], len(data))


def read_and_estimate(data: bytes) -> None:
    """As ``read``; an estimate of the result succeeds or is refused."""
    with suppress(GgufError, EstimateError):
        header_estimate(fetch_header(lambda offset, length: data[offset : offset + length], len(data)), LoadSettings())


def write_corpus(folder: Path) -> None:
    """Headers of two layers of every known shape, and one with a value and an array of every type."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in model_names():
        (folder / name).write_bytes(encode_header(metadata_of(name, 2), tensors_of(name, 2)))
    (folder / "every-type").write_bytes(every_type())
    (folder / "version-2").write_bytes(encode_header({"general.architecture": "llama"}, [], version=2))


def every_type() -> bytes:
    """A header with one value and one array of each type."""
    entries = [struct.pack("<I", kind) + struct.pack(f"<{code}", 1) for kind, code in _SCALARS.items()]
    entries += [struct.pack(f"<IIQ3{code}", 9, kind, 3, 1, 1, 1) for kind, code in _SCALARS.items()]
    entries.append(struct.pack("<IIQ", 9, 8, 2) + 2 * (struct.pack("<Q", 2) + b"ab"))
    keyed = (struct.pack("<Q", 2) + f"{number:02}".encode() + entry for number, entry in enumerate(entries))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(keyed) + bytes(32)


def main() -> None:
    folder = Path(sys.argv[1])
    target = read_and_estimate if "--estimate" in sys.argv else read
    options = [argument for argument in sys.argv[2:] if argument != "--estimate"]
    if not folder.is_dir() or not any(folder.iterdir()):
        write_corpus(folder)
    atheris.Setup([sys.argv[0], *LIMITS, *options, str(folder)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
