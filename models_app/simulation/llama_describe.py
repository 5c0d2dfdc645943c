"""How llama-server describes a loaded model: metadata, slots, properties, metrics."""

from __future__ import annotations

import time
from typing import Any

from models_app.simulation.catalogue import SimulatedModel
from models_app.simulation.llama_answers import NAME_HEADER
from models_app.simulation.llama_constants import CHAT_TEMPLATE_CAPABILITIES, METRICS, SAMPLING
from models_app.simulation.messages import Answer

BUILD_INFO = "b1-0c1e570"
TOKENS_PER_SECOND = 42


def listed(alias: str, model: SimulatedModel, slot_context: int) -> dict[str, Any]:
    """A loaded model as ``/v1/models`` lists it. ``slot_context`` is the context of one slot, in tokens."""
    head = {"id": alias, "aliases": [alias], "tags": [], "object": "model", "created": int(time.time())}
    return head | {"owned_by": "llamacpp", "meta": meta(model, slot_context)}


def meta(model: SimulatedModel, slot_context: int) -> dict[str, Any]:
    """What is known of a model once it is loaded."""
    return {
        "vocab_type": 3 if model.is_embedding else 2,
        "n_vocab": model.vocabulary_size,
        "n_ctx": slot_context,
        "n_ctx_train": model.training_context,
        "n_embd": model.embedding_length,
        "n_params": model.parameter_count,
        "size": model.file_bytes,
        "ftype": model.quantization,
    }


def slots(count: int, slot_context: int, busy: int = 0) -> list[dict[str, Any]]:
    """The slots of a loaded model; the last ``busy`` of them are at work."""
    idle = {"n_ctx": slot_context, "speculative": False, "is_processing": False}
    at_work = idle | {
        "is_processing": True,
        "id_task": 0,
        "n_prompt_tokens": 185,
        "n_prompt_tokens_processed": 2,
        "n_prompt_tokens_cache": 0,
        "params": SAMPLING,
        "next_token": [{"has_next_token": True, "has_new_line": False, "n_remain": 297, "n_decoded": 183}],
    }
    return [{"id": number} | (at_work if number >= count - busy else idle) for number in range(count)]


def props(
    alias: str, model: SimulatedModel, path: str, slot_count: int, slot_context: int, endpoints: dict[str, bool]
) -> dict[str, Any]:
    """``/props`` of a loaded model; ``endpoints`` are the switches ``slots``, ``props`` and ``metrics``."""
    return {
        "default_generation_settings": {"params": SAMPLING, "n_ctx": slot_context},
        "total_slots": slot_count,
        "model_alias": alias,
        "model_ftype": model.quantization,
        "model_path": path,
        "modalities": {"vision": False, "video": False, "audio": False},
        "media_marker": "<__media_simulated__>",
        **{f"endpoint_{name}": on for name, on in endpoints.items()},
        "ui": True,
        "ui_settings": {},
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "chat_template_caps": CHAT_TEMPLATE_CAPABILITIES,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "build_info": BUILD_INFO,
        "is_sleeping": False,
        "cors_proxy_enabled": False,
    }


def router_props(models_max: int) -> dict[str, Any]:
    """``/props`` of a router that is asked about no model."""
    return {
        "role": "router",
        "max_instances": models_max,
        "models_autoload": True,
        "model_alias": "llama-server",
        "model_path": "none",
        "default_generation_settings": {"params": None, "n_ctx": 0},
        "ui_settings": {},
        "build_info": BUILD_INFO,
        "cors_proxy_enabled": False,
    }


def chat_completion(name: str, model: SimulatedModel, text: str, tokens: int) -> dict[str, Any]:
    """An answer of ``/v1/chat/completions``."""
    milliseconds = 1000 / model.tokens_per_second
    return {
        "choices": [{"finish_reason": "length", "index": 0, "message": {"role": "assistant", "content": text}}],
        "created": int(time.time()),
        "model": name,
        "system_fingerprint": BUILD_INFO,
        "object": "chat.completion",
        "usage": {
            "completion_tokens": tokens,
            "prompt_tokens": 23,
            "total_tokens": 23 + tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        "id": "chatcmpl-simulated",
        "timings": {
            "cache_n": 0,
            "prompt_n": 23,
            "prompt_ms": 11.5,
            "prompt_per_token_ms": 0.5,
            "prompt_per_second": 2000.0,
            "predicted_n": tokens,
            "predicted_ms": milliseconds * tokens,
            "predicted_per_token_ms": milliseconds,
            "predicted_per_second": model.tokens_per_second,
        },
    }


def metrics(busy: int) -> Answer:
    """The Prometheus text of ``/metrics``: what is at work now, zero for the rest."""
    values = {"requests_processing": busy, "predicted_tokens_seconds": TOKENS_PER_SECOND if busy else 0}
    series = [
        f"# HELP llamacpp:{name} {explanation}\n# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {values.get(name, 0)}\n"
        for name, explanation, kind in METRICS
    ]
    return Answer(200, "".join(series).encode(), "text/plain; version=0.0.4", NAME_HEADER)
