"""Readings of what Ollama answers: pure functions from decoded JSON to the protocol's values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from models_app.backends.errors import BackendError, BadAnswer, NotFound, OutOfMemory, ServerFault
from models_app.backends.failures import is_out_of_memory
from models_app.backends.protocol import (
    Generation,
    HeaderAnswer,
    InstalledModel,
    ModelShape,
    ModelState,
    Progress,
    ResidentModel,
)
from models_app.backends.shapes import Object, as_object, count, decoded, instant, number, part, text, texts
from models_app.gguf.errors import GgufError
from models_app.gguf.ollama_show import header_from_show

FIRST_SAFE_VERSION = (0, 17, 1)

_BLOB = re.compile(r"^FROM (\S.*[/\\]blobs[/\\]sha256-[0-9a-f]{64})$", re.MULTILINE)
_FOR_EVER = timedelta(days=3653)
_MULTIPLES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def version_warnings(version: str) -> tuple[str, ...]:
    """What an admin should know of this version; a build from source calls itself 0.0.0."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None or version.startswith("0.0.0"):
        return (f"This Ollama calls its version “{version}”, so whether it holds the fix for CVE-2026-7482 is unknown.",)
    if tuple(int(number) for number in numbers.groups()) < FIRST_SAFE_VERSION:
        return (f"CVE-2026-7482: Ollama {version} is vulnerable. Update it to 0.17.1 or newer.",)
    return ()


def installed_model(entry: Object) -> InstalledModel:
    """From one entry of ``/api/tags``."""
    details = part(entry, "details")
    return InstalledModel(
        name=text(entry.get("name")),
        digest=text(entry.get("digest")),
        size_bytes=count(entry.get("size")) or 0,
        family=text(details.get("family")),
        quantization=text(details.get("quantization_level")),
        parameter_count=_parameter_count(text(details.get("parameter_size"))),
        is_embedding=_is_embedding(entry, text(details.get("family"))),
        modified_at=instant(entry.get("modified_at")),
    )


def _is_embedding(entry: Object, family: str) -> bool:
    """Older servers list no capabilities, and some list an encoder as able to complete text: its family tells."""
    return "embedding" in texts(entry.get("capabilities")) or family.endswith("bert")


def _parameter_count(size: str) -> int | None:
    """The number in Ollama's rounded text, such as 325K, 51.76M or 7B."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBT]?)", size)
    return round(float(match[1]) * _MULTIPLES[match[2]]) if match else None


def model_shape(answer: Object) -> ModelShape:
    """From the raw GGUF keys of ``/api/show``.

    A figure that differs by layer arrives as a list, empty or ``null``: unknown here.
    """
    info = part(answer, "model_info")
    architecture = text(info.get("general.architecture"))

    def figure(key: str) -> int | None:
        return count(info.get(f"{architecture}.{key}"))

    return ModelShape(
        architecture=architecture,
        layer_count=figure("block_count"),
        kv_head_count=figure("attention.head_count_kv"),
        head_count=figure("attention.head_count"),
        key_length=figure("attention.key_length"),
        value_length=figure("attention.value_length"),
        embedding_length=figure("embedding_length"),
        training_context_length=figure("context_length"),
        parameter_count=count(info.get("general.parameter_count")),
        is_embedding=_is_embedding(answer, architecture),
    )


def needs_arrays(answer: Object) -> bool:
    """Whether ``/api/show`` left out an array that says how a layer differs from the others."""
    info = part(answer, "model_info")
    prefix = text(info.get("general.architecture")) + "."
    return any(key.startswith(prefix) and not value and isinstance(value, list | None) for key, value in info.items())


def header_answer(answer: Object) -> HeaderAnswer:
    """The header in an answer of ``/api/show``, and the model's file on the server's own host."""
    blob = _BLOB.search(raw) if isinstance(raw := answer.get("modelfile"), str) else None
    path = text(blob[1]) if blob else ""
    if not answer.get("tensors"):
        return HeaderAnswer(None, model_shape(answer), path)
    try:
        return HeaderAnswer(header_from_show(answer), model_shape(answer), path)
    except GgufError as error:
        raise BadAnswer(f"The description holds no usable header: {error}") from error


def resident_model(entry: Object, clock_skew: timedelta) -> ResidentModel:
    """``clock_skew`` is how far the server's clock is ahead of ours; the expiry is given by our clock."""
    expires_at = instant(entry.get("expires_at"))
    left = timedelta.max if expires_at is None else expires_at - datetime.now(UTC) - clock_skew
    kept_forever = expires_at is not None and left > _FOR_EVER
    return ResidentModel(
        name=text(entry.get("name")),
        state=ModelState.LOADED if left > timedelta() else ModelState.STOPPING,
        digest=text(entry.get("digest")),
        size_bytes=count(entry.get("size")),
        vram_bytes=count(entry.get("size_vram")),
        context_length=count(entry.get("context_length")) or None,
        expires_at=expires_at - clock_skew if expires_at is not None and not kept_forever else None,
        kept_forever=kept_forever,
    )


def generation(answer: object) -> Generation:
    """From the answer of ``/api/generate``. Raises ``BadAnswer`` where it says nothing of its speed."""
    answer = as_object(answer, "The text")
    token_count, nanoseconds = count(answer.get("eval_count")), number(answer.get("eval_duration"))
    if not token_count or not nanoseconds:
        raise BadAnswer("The answer does not say how many tokens it wrote in which time.")
    return Generation(token_count, nanoseconds / 1e9)


def pull_progress(line: bytes) -> Progress:
    """One line of a download. An error can come after the status 200, as a line of its own."""
    entry = as_object(decoded(line), "A line of the download")
    if "error" in entry:
        raise _pull_error(text(entry["error"]) or "The download failed.")
    total, completed = count(entry.get("total")), count(entry.get("completed"))
    fraction = min((completed or 0) / total, 1.0) if total else None
    return Progress(text(entry.get("status")), completed if total else None, total, fraction)


def _pull_error(words: str) -> BackendError:
    if is_out_of_memory(words):
        return OutOfMemory(words)
    if "file does not exist" in words:
        return NotFound(words, hint="The registry has no such model: check its name and tag.")
    return ServerFault(words, hint="The server could not download it: can it reach the registry?")
