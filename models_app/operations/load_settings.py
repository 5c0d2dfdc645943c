"""The settings that a load will run with: as asked for, else as the endpoint starts its models, else its defaults.

Ollama's are in ``estimator.ollama_defaults``, llama-server's are those of its ``--help``. What had to be assumed is said in
words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_app.backends.protocol import BackendKind, LoadOptions
from models_app.estimator.ollama_defaults import ollama_batch, ollama_settings
from models_app.estimator.server_fit import Unset
from models_app.estimator.types import LoadSettings

ASSUMED_CONTEXT_LENGTH = 4096
"""The context where nothing tells it: the least that Ollama and llama-server choose for themselves."""

_OLLAMA_EMBEDDING_BATCH = 2048
_OWN_RUNNER_BATCH = 512
_LLAMA_BATCH, _LLAMA_UBATCH = 2048, 512
_LLAMA_SLOTS = 4
"""llama-server's own choice, and then the slots share one cache."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides the defaults. ``vram_bytes`` is the nominal VRAM of the host; ``observed_context`` that of the model as
    it is loaded now; ``launch`` the endpoint's command line as ``backends.llama_launch`` reads it."""

    kind: str
    mode: str
    has_own_runner: bool
    vram_bytes: int
    training_context_length: int | None
    is_embedding: bool
    observed_context: int | None = None
    observed_parallel: int | None = None
    launch: Mapping[str, Any] | None = None


def load_settings(options: LoadOptions, situation: Situation) -> tuple[LoadSettings, tuple[str, ...]]:
    """The settings, and in words what is assumed. Raises ``InvalidSettings``."""
    if situation.kind == BackendKind.OLLAMA:
        return _ollama(options, situation)
    return _llama_server(options, situation)


def _ollama(options: LoadOptions, situation: Situation) -> tuple[LoadSettings, tuple[str, ...]]:
    launch = situation.launch or {}
    context_length, assumed = _ollama_context(options, situation, launch)
    parallel = options.parallel or launch.get("parallel", 1)
    batch = options.batch or _ollama_batch(context_length * parallel, situation)
    return LoadSettings(
        context_length=context_length,
        parallel=parallel,
        gpu_layers=options.gpu_layers,
        batch=batch,
        ubatch=batch,
        kv_offload=options.kv_offload is not False,
        embedding=situation.is_embedding and not situation.has_own_runner,
        **_cache(options, launch),
    ), assumed


def _ollama_context(options: LoadOptions, situation: Situation, launch: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """An Ollama that Berth starts is known by its settings: ``ctx_size`` is then one slot's."""
    if options.context_length:
        return options.context_length, ()
    if launch.get("ctx_size"):
        trained = situation.training_context_length or launch["ctx_size"]
        return min(launch["ctx_size"], trained), ()
    if situation.observed_context:
        return situation.observed_context, ()
    tokens = ollama_settings(situation.vram_bytes, situation.training_context_length or 0).context_length
    return tokens, (f"The endpoint chooses the context; {tokens:,} tokens are assumed, Ollama's default here.",)


def _ollama_batch(total_context: int, situation: Situation) -> int:
    if situation.has_own_runner:
        return _OWN_RUNNER_BATCH
    if situation.is_embedding:
        return min(_OLLAMA_EMBEDDING_BATCH, total_context)
    return ollama_batch(total_context)


def _llama_server(options: LoadOptions, situation: Situation) -> tuple[LoadSettings, tuple[str, ...]]:
    launch = situation.launch or {}
    slots = options.parallel or launch.get("parallel")
    parallel = slots or situation.observed_parallel or _LLAMA_SLOTS
    is_unified = bool(launch.get("kv_unified", not slots))
    context_length, assumed = _llama_context(options, situation, launch, 1 if is_unified else parallel)
    batch = options.batch or launch.get("batch_size", _LLAMA_BATCH)
    return LoadSettings(
        context_length=context_length,
        parallel=parallel,
        unified_kv=is_unified,
        gpu_layers=launch.get("n_gpu_layers") if options.gpu_layers is None else options.gpu_layers,
        batch=batch,
        ubatch=min(launch.get("ubatch_size", _LLAMA_UBATCH), batch),
        split=tuple(launch.get("tensor_split", ())),
        swa_full=bool(launch.get("swa_full", False)),
        kv_offload=launch.get("kv_offload", True) if options.kv_offload is None else options.kv_offload,
        cpu_moe_layers=launch.get("n_cpu_moe", 0),
        embedding=situation.is_embedding or bool(launch.get("embedding", False)),
        **_cache(options, launch),
    ), assumed


def _llama_context(
    options: LoadOptions, situation: Situation, launch: Mapping[str, Any], streams: int
) -> tuple[int, tuple[str, ...]]:
    """Tokens that one slot can hold; ``--ctx-size`` counts all separate slots together, and 0 is what was trained."""
    trained = situation.training_context_length
    if options.context_length:
        return options.context_length, ()
    if launch.get("ctx_size"):
        return max(1, launch["ctx_size"] // streams), ()
    if situation.observed_context:
        return situation.observed_context, ()
    tokens = trained or ASSUMED_CONTEXT_LENGTH
    return tokens, (f"The endpoint chooses the context; {tokens:,} tokens are assumed, as the model was trained.",)


def _cache(options: LoadOptions, launch: Mapping[str, Any]) -> dict[str, Any]:
    """Cache types and flash attention: as asked for, else as launched, else the program's default."""
    chosen = {
        "cache_type_k": options.cache_type_k or launch.get("cache_type_k"),
        "cache_type_v": options.cache_type_v or launch.get("cache_type_v"),
        "flash_attention": launch.get("flash_attn") if options.flash_attention is None else options.flash_attention,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def uses_every_gpu(situation: Situation) -> bool:
    """Whether the program divides a model over all GPUs even where one would do: llama-server, unless told otherwise."""
    is_llama = situation.kind == BackendKind.LLAMA_SERVER
    return is_llama and (situation.launch or {}).get("split_mode") != "none"


def only_gpu(situation: Situation) -> int | None:
    """The index of the one GPU that the command line names, if it does."""
    launch = situation.launch or {}
    return int(launch.get("main_gpu", 0)) if launch.get("split_mode") == "none" else None


def seen_gpus(situation: Situation) -> frozenset[str] | None:
    """The UUIDs of the GPUs that are shown to the program; ``None`` for all."""
    return frozenset((situation.launch or {}).get("gpus", ())) or None


def unset(options: LoadOptions, situation: Situation) -> Unset | None:
    """What llama-server may shrink where a load does not fit; ``None`` for another program, or where it is told not to."""
    launch = situation.launch or {}
    if situation.kind != BackendKind.LLAMA_SERVER or not launch.get("fit", True):
        return None
    told = {"n_gpu_layers", "tensor_split", "n_cpu_moe"} & launch.keys()
    return Unset(
        context=options.context_length is None and "ctx_size" not in launch,
        layers=options.gpu_layers is None and not told,
    )
