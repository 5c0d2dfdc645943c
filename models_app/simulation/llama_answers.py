"""The answers that llama-server gives in both of its modes."""

from __future__ import annotations

import json
import time
from typing import Any

from models_app.simulation.asgi import Answer, HttpError, Request, json_answer
from models_app.simulation.catalogue import SimulatedModel

BUILD_INFO = "b1-0c1e570"
NAME_HEADERS = {"server": "llama.cpp"}
SAMPLING = {"seed": 4294967295, "temperature": 0.800000011920929, "top_k": 40, "n_predict": -1, "stream": False}


def answer(value: Any, status: int = 200) -> Answer:
    """JSON under the name of llama.cpp."""
    plain = json_answer(value, status)
    return Answer(plain.status, plain.body, plain.content_type, NAME_HEADERS)


def failure(code: int, message: str, kind: str) -> HttpError:
    """An error as the server's own code reports it; some builds order the keys otherwise."""
    return HttpError(answer({"error": {"code": code, "message": message, "type": kind}}, code))


def invalid(message: str) -> HttpError:
    """400."""
    return failure(400, message, "invalid_request_error")


def not_supported(what: str, flag: str) -> HttpError:
    """501: the endpoint was not switched on."""
    message = f"This server does not support {what}. Start it with `{flag}`"
    return failure(501, message, "not_supported_error")


FILE_NOT_FOUND = answer({"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}, 404)
"""For an unknown path or, from the router's load, an unknown model."""
LOADING = answer({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503)
"""For every path while the model is being loaded."""


def without_key(request: Request, api_key: str | None) -> Answer | None:
    """401 for every path but health, unless the request bears the key."""
    if api_key is None or request.path in {"/health", "/v1/health"}:
        return None
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    if api_key in {bearer, request.headers.get("x-api-key", "")}:
        return None
    return answer({"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}, 401)


def parse(request: Request) -> dict[str, Any]:
    """The request's JSON object. Bad JSON is a 500, as recorded."""
    try:
        value = json.loads(request.body or b"{}")
    except json.JSONDecodeError as error:
        column = error.pos + 1
        text = f"[json.exception.parse_error.101] parse error at line {error.lineno}, column {column}: syntax error"
        raise failure(500, text, "server_error") from None
    return value if isinstance(value, dict) else {}


def meta(model: SimulatedModel, slot_context: int) -> dict[str, Any]:
    """What is told of a loaded model. ``slot_context`` is the context of one slot, in tokens."""
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
    return [
        {"id": number, "n_ctx": slot_context, "speculative": False, "is_processing": number >= count - busy}
        for number in range(count)
    ]


def props(
    alias: str, model: SimulatedModel, path: str, slot_count: int, slot_context: int, **endpoints: bool
) -> dict[str, Any]:
    """``/props`` of a loaded model; ``endpoints`` are the switches ``slots``, ``props`` and ``metrics``."""
    return {
        "default_generation_settings": {"params": SAMPLING, "n_ctx": slot_context},
        "total_slots": slot_count,
        "model_alias": alias,
        "model_ftype": model.quantization,
        "model_path": path,
        "modalities": {"vision": False, "video": False, "audio": False},
        "media_marker": "<__media__>",
        **{f"endpoint_{name}": on for name, on in endpoints.items()},
        "ui": True,
        "ui_settings": {},
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "chat_template_caps": {"supports_system_role": True, "supports_tools": False},
        "bos_token": "<s>",
        "eos_token": "</s>",
        "build_info": BUILD_INFO,
        "is_sleeping": False,
        "cors_proxy_enabled": False,
    }


def chat_completion(model: str, text: str, tokens: int) -> dict[str, Any]:
    """An answer of ``/v1/chat/completions``."""
    return {
        "choices": [{"finish_reason": "length", "index": 0, "message": {"role": "assistant", "content": text}}],
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": BUILD_INFO,
        "object": "chat.completion",
        "usage": {
            "completion_tokens": tokens,
            "prompt_tokens": 23,
            "total_tokens": 23 + tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        "id": "chatcmpl-simulated",
        "timings": {"cache_n": 0, "prompt_n": 23, "prompt_ms": 0.8, "predicted_n": tokens, "predicted_ms": 0.4},
    }


def metrics(busy: int) -> Answer:
    """The Prometheus text of ``/metrics``, shortened to the series that a panel reads."""
    values = {"predicted_tokens_seconds": 42.0 if busy else 0, "requests_processing": busy, "requests_deferred": 0}
    lines = [
        f"# HELP llamacpp:{name} {name}\n# TYPE llamacpp:{name} gauge\nllamacpp:{name} {value}\n"
        for name, value in values.items()
    ]
    return Answer(200, "".join(lines).encode(), "text/plain; version=0.0.4", NAME_HEADERS)
