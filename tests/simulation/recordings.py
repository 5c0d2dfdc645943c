"""Recorded answers of real servers: how they were asked for, and how a simulated answer is compared with them."""

from __future__ import annotations

import json
import re
import shlex
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from models_app.simulation.catalogue import SimulatedModel

TLS = ssl.create_default_context()
"""Made once: reading the certificates takes longer than most tests."""

FOLDER = Path(__file__).parents[1] / "fixtures" / "recorded"

TINY_LLAMA = SimulatedModel(
    "tiny-llama", "llama", "F16", 324_928, 668_149,
    4, 4, 2, 16, 64, 256, 614, 512,
)  # fmt: skip
TINY_BERT = SimulatedModel(
    "tiny-bert", "bert", "F16", 249_088, 580_242,
    4, 4, 4, 16, 64, 256, 252, 512, is_embedding=True,
)  # fmt: skip
TINY_QWEN2 = replace(TINY_LLAMA, name="tiny-qwen2", architecture="qwen2", parameter_count=313_024)
TINY_GEMMA = replace(TINY_LLAMA, name="tiny-gemma", architecture="gemma2")
M100 = replace(TINY_LLAMA, name="m100", parameter_count=51_760_640, file_bytes=103_570_871, embedding_length=512)
M500 = replace(TINY_LLAMA, name="m500", parameter_count=252_949_504, file_bytes=505_990_136, embedding_length=1024)
HUGE_CONTEXT = replace(M500, name="hugectx", training_context=100_000_000, layers=8, kv_heads=8, head_size=128)
BROKEN = replace(TINY_LLAMA, name="broken", is_broken=True)
"""The models of the servers that were recorded, with random weights."""


@dataclass(frozen=True)
class Recording:
    """One recorded exchange."""

    name: str
    command: str
    status: int
    content_type: str | None
    body: Any

    def request(self) -> tuple[str, str, dict[str, str], bytes]:
        """Method, path with query, headers and body of the recorded curl command."""
        words = shlex.split(self.command)
        given = {flag: words[at + 1] for at, flag in enumerate(words) if flag in {"-X", "-H", "-d"}}
        url = next(word for word in words if word.startswith("http://"))
        header = dict([given["-H"].split(": ", 1)]) if "-H" in given else {}
        return given.get("-X", "POST" if "-d" in given else "GET"), _path(url), header, given.get("-d", "").encode()


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def load(prefix: str) -> list[Recording]:
    """The recordings whose names begin with ``prefix``, except those without a request."""
    recordings = []
    for file in sorted(FOLDER.glob(f"{prefix}*.json")):
        told = json.loads(file.read_text())
        if "command" in told:
            recordings.append(Recording(file.stem, told["command"], told["status"], told["content_type"], told["body"]))
    return recordings


def connect(url: str) -> httpx.AsyncClient:
    """A client of the server at ``url``."""
    return httpx.AsyncClient(base_url=url, timeout=10, trust_env=False, verify=TLS)


async def replay(recording: Recording, url: str) -> httpx.Response:
    """Ask the server at ``url`` what was asked when the answer was recorded."""
    method, path, headers, body = recording.request()
    async with connect(url) as client:
        return await client.request(method, path, headers=headers, content=body)


def assert_answers_as_recorded(answer: httpx.Response, recording: Recording) -> None:
    """Status, content type, keys, types and the words of errors are those of the recording."""
    assert answer.status_code == recording.status, answer.text
    assert answer.headers.get("content-type") == recording.content_type
    if isinstance(recording.body, str):
        assert outline(parsed(answer.text)) == outline(parsed(recording.body))
    else:
        assert outline(answer.json()) == outline(recording.body)


def parsed(text: str) -> Any:
    """The values of a text answer: JSON lines, the names of metrics, or the text itself."""
    if text.startswith("{"):
        return [json.loads(line) for line in text.splitlines()]
    return re.findall(r"^# .*$", text, re.MULTILINE) or text


def outline(value: Any, key: str = "") -> Any:
    """What two answers have in common: keys, types, errors and states; of a list, the different outlines in it."""
    if isinstance(value, dict):
        return {name: outline(part, name) for name, part in value.items() if name not in FREE_KEYS}
    if isinstance(value, list):
        return sorted({json.dumps(outline(part, key), sort_keys=True) for part in value})
    if key in MEANINGFUL_KEYS:
        return _without_accidents(value) if isinstance(value, str) else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__ if key else value


def _without_accidents(text: str) -> str:
    """Without random ids, digests and figures."""
    return re.sub(r"[\d.]*\d", "N", re.sub(r"\b(?=\d*[a-f])[0-9a-f]{12}\b|(?<=chatcmpl-)\w+", "ID", text))


MEANINGFUL_KEYS = frozenset(
    {"error", "message", "type", "code", "status", "value", "done", "done_reason", "success", "failed", "event"}
    | {"id", "name", "family", "quantization_level", "capabilities", "source", "can_remove", "is_processing", "role"}
)
"""Their values are compared too, apart from digits."""
FREE_KEYS = {"model_info", "tensors"}
"""Not compared here: what ``/api/show`` tells of the file has a test of its own."""
