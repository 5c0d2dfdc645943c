"""How fast is the header reader beside the ``gguf`` package's? Both read the same file with a 128k vocabulary.

python -m benchmarks.gguf_reader
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gguf

from models_app.gguf.reader import read_header
from tests.tools.sparse_gguf import SparseTensor, write_sparse_gguf

TOKENS = 128_256
MERGES = 280_147
ROUNDS = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for title, merges in (("128k tokens", 0), ("128k tokens and 280k merges", MERGES)):
            path = write_vocabulary(Path(folder) / "vocabulary.gguf", merges)
            theirs = seconds(gguf.GGUFReader, path, rounds=1)
            ours = seconds(read_header, path, rounds=ROUNDS)
            size = path.stat().st_size / 1024**2
            ratio = f"{1000 * ours:.1f} ms, the gguf package {theirs:.2f} s: {theirs / ours:.0f} x"
            print(f"{title}, {size:.1f} MiB: {ratio}")


def write_vocabulary(path: Path, merges: int) -> Path:
    """A file with a large vocabulary and one small tensor."""
    metadata = {
        "general.architecture": "llama",
        "tokenizer.ggml.tokens": [f"\u0120token{number}" for number in range(TOKENS)],
        "tokenizer.ggml.token_type": [1] * TOKENS,
    }
    if merges:
        metadata["tokenizer.ggml.merges"] = [f"\u0120 t{number}" for number in range(merges)]
    return write_sparse_gguf(path, metadata, [SparseTensor("token_embd.weight", (32, 4), "F32")])


def seconds(read: Callable[[Path], object], path: Path, rounds: int) -> float:
    """The fastest of some rounds."""
    durations = []
    for _ in range(rounds):
        start = time.perf_counter()
        read(path)
        durations.append(time.perf_counter() - start)
    return min(durations)


if __name__ == "__main__":
    main()
