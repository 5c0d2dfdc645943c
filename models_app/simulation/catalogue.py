"""Models that the simulated servers know, with the header values and file sizes of the real ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

READ_BYTES_PER_SECOND = 210e9
"""How fast a GPU of the simulated kinds reads weights when it writes a token: an 8B in Q4_K_M makes 43 tokens a second."""
FIRST_MODIFIED = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """One model as a server has it on disk. Sizes in bytes, lengths in tokens or elements.

    ``tied_embeddings``: the output layer shares the input's matrix, which then lies on both CPU and GPU. Every
    ``sliding_pattern``-th layer sees the whole context, the others ``sliding_window`` tokens. ``is_broken``: its file
    cannot be loaded. ``blob`` names the file: copies of a model share it. ``projector_bytes`` are that part of its files
    which reads pictures.
    """

    name: str
    architecture: str
    quantization: str
    parameter_count: int
    file_bytes: int
    layers: int
    head_count: int
    kv_heads: int
    head_size: int
    embedding_length: int
    feed_forward_length: int
    vocabulary_size: int
    training_context: int
    tied_embeddings: bool = False
    sliding_window: int = 0
    sliding_pattern: int = 1
    is_embedding: bool = False
    is_broken: bool = False
    removable: bool = False
    blob: str = ""
    projector_bytes: int = 0

    @property
    def blob_digest(self) -> str:
        """The sha256 of the model's file, in hex."""
        return hashlib.sha256((self.blob or self.name).encode()).hexdigest()

    @property
    def digest(self) -> str:
        """The sha256 of the manifest, in hex: what Ollama lists."""
        return hashlib.sha256(f"manifest {self.name}".encode()).hexdigest()

    @property
    def tokens_per_second(self) -> float:
        """How fast it writes, wholly on a GPU: every weight is read for each token."""
        return READ_BYTES_PER_SECOND / self.file_bytes

    @property
    def modified_at(self) -> datetime:
        """When it was installed: some minute after ``FIRST_MODIFIED``, the same at every start."""
        return FIRST_MODIFIED + timedelta(minutes=int(self.digest[:4], 16))

    @property
    def parameter_size(self) -> str:
        """The parameter count as Ollama writes it: ``14.8B``, ``136.73M``, ``325K``."""
        for divisor, suffix, decimals in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0)):
            if self.parameter_count >= divisor:
                return f"{self.parameter_count / divisor:.{decimals}f}{suffix}"
        return str(self.parameter_count)


MODELS = (
    SimulatedModel(
        "qwen2.5-coder:14b", "qwen2", "Q4_K_M", 14_770_033_664, 8_988_124_069,
        48, 40, 8, 128, 5120, 13824, 152_064, 32_768,
    ),
    SimulatedModel(
        "llama3.1:8b", "llama", "Q4_K_M", 8_030_261_312, 4_920_753_328,
        32, 32, 8, 128, 4096, 14336, 128_256, 131_072,
    ),
    SimulatedModel(
        "llama3.2:3b", "llama", "Q4_K_M", 3_212_749_888, 2_019_393_189,
        28, 24, 8, 128, 3072, 8192, 128_256, 131_072, tied_embeddings=True,
    ),
    SimulatedModel(
        "mistral-small:24b", "llama", "Q4_K_M", 23_572_403_200, 14_333_928_010,
        40, 32, 8, 128, 5120, 32768, 131_072, 32_768,
    ),
    SimulatedModel(
        "gemma3:12b", "gemma3", "Q4_K_M", 12_187_325_040, 8_149_190_253,
        48, 16, 8, 256, 3840, 15360, 262_208, 131_072, tied_embeddings=True, sliding_window=1024, sliding_pattern=6,
        projector_bytes=854_200_224,
    ),
    SimulatedModel(
        "phi4:14b", "phi3", "Q4_K_M", 14_659_507_200, 9_053_116_391,
        40, 40, 10, 128, 5120, 17920, 100_352, 16_384,
    ),
    SimulatedModel(
        "deepseek-r1:32b", "qwen2", "Q4_K_M", 32_763_876_352, 19_851_337_640,
        64, 40, 8, 128, 5120, 27648, 152_064, 131_072,
    ),
    SimulatedModel(
        "qwen3:8b", "qwen3", "Q4_K_M", 8_190_735_360, 5_225_388_164,
        36, 32, 8, 128, 4096, 12288, 151_936, 40_960,
    ),
    SimulatedModel(
        "qwen2.5:7b", "qwen2", "Q4_K_M", 7_615_616_512, 4_683_087_332,
        28, 28, 4, 128, 3584, 18944, 152_064, 32_768,
    ),
    SimulatedModel(
        "codestral:22b", "llama", "Q4_0", 22_247_282_688, 12_569_170_041,
        56, 48, 8, 128, 6144, 16384, 32_768, 32_768,
    ),
    SimulatedModel(
        "gpt-oss:20b", "gptoss", "MXFP4", 20_914_757_184, 13_793_441_244,
        24, 64, 8, 64, 2880, 2880, 201_088, 131_072, sliding_window=128, sliding_pattern=2,
    ),
    SimulatedModel(
        "nomic-embed-text:latest", "nomic-bert", "F16", 136_727_040, 274_302_450,
        12, 12, 12, 64, 768, 3072, 30_522, 2048, is_embedding=True,
    ),
    SimulatedModel(
        "bge-m3:latest", "bert", "F16", 566_703_104, 1_157_672_605,
        24, 16, 16, 64, 1024, 4096, 250_002, 8192, is_embedding=True,
    ),
    SimulatedModel(
        "llama-3.3-70b-instruct-q4_k_m", "llama", "Q4_K_M", 70_553_706_560, 42_520_398_432,
        80, 64, 8, 128, 8192, 28672, 128_256, 131_072,
    ),
    SimulatedModel(
        "qwen2.5-coder-32b-instruct-q8_0", "qwen2", "Q8_0", 32_763_876_352, 34_820_885_504,
        64, 40, 8, 128, 5120, 27648, 152_064, 32_768,
    ),
    SimulatedModel(
        "llama-3.1-8b-instruct-q8_0", "llama", "Q8_0", 8_030_261_312, 8_540_771_328,
        32, 32, 8, 128, 4096, 14336, 128_256, 131_072,
    ),
    SimulatedModel(
        "bge-m3-f16", "bert", "F16", 566_703_104, 1_157_671_200,
        24, 16, 16, 64, 1024, 4096, 250_002, 8192, is_embedding=True,
    ),
    SimulatedModel(
        "mixtral-truncated-q4_k_m", "llama", "Q4_K_M", 46_702_792_704, 11_811_160_064,
        32, 32, 8, 128, 4096, 14336, 32_000, 32_768, is_broken=True,
    ),
)  # fmt: skip

CATALOGUE = {model.name: model for model in MODELS}
"""Every model by its name."""


def models(*names: str) -> list[SimulatedModel]:
    """The named models of the catalogue. Raises ``KeyError`` for an unknown name."""
    return [CATALOGUE[name] for name in names]
