"""What llama.cpp knows of an architecture that its header does not say: the kind of memory, and the sliding windows.

Source: ``src/models/*.cpp`` (``load_arch_hparams``) and ``llama_model::create_memory`` of llama.cpp. An architecture that
is not listed is treated as a plain transformer with a KV cache in every layer, and the estimate says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Memory(StrEnum):
    """What a model keeps between tokens."""

    ATTENTION = "attention"
    RECURRENT = "recurrent"
    HYBRID = "hybrid"
    """Some layers keep a KV cache, others a recurrent state (or each layer both)."""
    NONE = "none"
    """Encoders and diffusion models keep nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """Sliding-window attention: of every ``period`` layers one is global, the last, or the first with ``global_first``.

    ``period`` 0 means that the header lists the layers. ``size`` in tokens stands in for, and ``fixed_size`` overrides,
    the header's ``attention.sliding_window``; without either, no key means no window.
    """

    period: int = 0
    global_first: bool = False
    size: int = 0
    fixed_size: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """The facts about one architecture that are compiled into llama.cpp."""

    memory: Memory = Memory.ATTENTION
    window: Window | None = None
    kv_layers: int | None = None
    """Only the first so many layers own a KV cache; later ones reuse it."""
    default_full_attention_interval: int = 0
    """In a hybrid without a list of layers, every so-many-th layer is an attention layer."""
    state_in_every_layer: bool = False
    """Each layer of a hybrid keeps both a KV cache and a recurrent state."""
    known: bool = True
    """Whether the estimator was verified for it; the generic path is not."""


_ATTENTION = Architecture()
_RECURRENT = Architecture(Memory.RECURRENT)
_APPROXIMATE = Architecture(Memory.RECURRENT, known=False)
_HYBRID = Architecture(Memory.HYBRID)
_ENCODER = Architecture(Memory.NONE)
_DELTA_NET = Architecture(Memory.HYBRID, default_full_attention_interval=4)
_EVERY_FOURTH = Architecture(window=Window(4))

_PLAIN = (
    "llama mistral3 qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe gemma phi2 phi3 phimoe deepseek "
    "deepseek2 command-r starcoder starcoder2 falcon granite granitemoe chatglm glm4 glm4moe stablelm olmo olmoe "
    "gptneox smollm3 seed_oss ernie4_5 ernie4_5-moe internlm2 baichuan minicpm minicpm3 nemotron dots1 hunyuan- "
    "dense hunyuan-moe bailingmoe bailingmoe2 arcee orion xverse mpt bloom refact gpt2 exaone grok dbrx arctic"
)

ARCHITECTURES: dict[str, Architecture] = dict.fromkeys(_PLAIN.split(), _ATTENTION) | {
    "gemma2": Architecture(window=Window(2, size=4096)),
    "gemma3": Architecture(window=Window(6)),
    "gemma3n": Architecture(window=Window(5), kv_layers=20),
    "gemma4": Architecture(window=Window()),
    "gemma-embedding": Architecture(Memory.NONE, window=Window(6)),
    "gpt-oss": Architecture(window=Window(2)),
    "cohere2": _EVERY_FOURTH,
    "cohere2moe": Architecture(window=Window(4, global_first=True)),
    "olmo2": _EVERY_FOURTH,
    "exaone4": _EVERY_FOURTH,
    "exaone-moe": _EVERY_FOURTH,
    "afmoe": _EVERY_FOURTH,
    "mellum": _EVERY_FOURTH,
    "llama4": Architecture(window=Window(4, size=8192, fixed_size=True)),
    "smallthinker": Architecture(window=Window(4, global_first=True)),
    "laguna": Architecture(window=Window(4, global_first=True)),
    "plamo3": Architecture(window=Window(8)),
    "granite-swa": Architecture(window=Window()),
    "mimo2": Architecture(window=Window()),
    "step35": Architecture(window=Window()),
    "modern-bert": Architecture(Memory.NONE, window=Window(3, global_first=True)),
    "glm-dsa": _ATTENTION,
    "deepseek32": _ATTENTION,
    "mamba": _RECURRENT,
    "mamba2": _RECURRENT,
    "rwkv6": _APPROXIMATE,
    "rwkv7": _APPROXIMATE,
    "jamba": _HYBRID,
    "granitehybrid": _HYBRID,
    "nemotron_h": _HYBRID,
    "nemotron_h_moe": _HYBRID,
    "plamo2": _HYBRID,
    "lfm2": _HYBRID,
    "lfm2moe": _HYBRID,
    "falcon-h1": Architecture(Memory.HYBRID, state_in_every_layer=True),
    "qwen3next": _DELTA_NET,
    "qwen35": _DELTA_NET,
    "qwen35moe": _DELTA_NET,
    "bert": _ENCODER,
    "nomic-bert": _ENCODER,
    "nomic-bert-moe": _ENCODER,
    "jina-bert-v2": _ENCODER,
    "jina-bert-v3": _ENCODER,
    "neo-bert": _ENCODER,
    "eurobert": _ENCODER,
    "dream": _ENCODER,
    "llada": _ENCODER,
}


def architecture(name: str) -> Architecture:
    """The facts about ``general.architecture``; those of a plain transformer, marked unknown, for any other name."""
    return ARCHITECTURES.get(name, Architecture(known=False))
