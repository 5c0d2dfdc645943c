"""Whatever JSON an endpoint sends, a backend returns its own values or raises its own errors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.backends.detect import backend_for
from models_app.backends.errors import BackendError
from models_app.backends.protocol import InstalledModel, LoadOptions, ModelShape, Observation
from models_app.backends.shapes import MAX_COUNT, count, instant, text

KEYS = ["models", "data", "name", "id", "status", "value", "args", "meta", "size", "details", "expires_at", "error", "role"]
KEYS += ["model_info", "general.architecture", "failed", "exit_code", "total_slots", "progress", "capabilities", "version"]
VALUES = ["loaded", "loading", "router", "llama", "--port", "-1", "9" * 30, "2026-11-21T08:27:20.5667999Z", "a\x00b\ud800"]

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(VALUES) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)


@pytest.mark.parametrize("mode", ["ollama", "router", "single"])
@given(answer=JSON)
async def test_no_shape_of_answer_escapes_the_family(mode: str, answer: Any) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=_encodable(answer)))
    backend = backend_for(mode, "http://127.0.0.1:11434", transport=transport)
    with suppress(BackendError):
        assert isinstance(await backend.observe(), Observation)
    with suppress(BackendError):
        assert all(isinstance(model, InstalledModel) for model in await backend.installed())
    with suppress(BackendError):
        assert isinstance(await backend.shape("m"), ModelShape)
    with suppress(BackendError):
        assert (await backend.identify()).version is not None
    for call in (backend.unload("m"), backend.set_keep_alive("m", 60, LoadOptions()), backend.delete("m")):
        with suppress(BackendError):
            await call


def _encodable(value: Any) -> Any:
    """JSON as a careless server writes it: not-a-number stays out, for httpx refuses to encode it."""
    if isinstance(value, float):
        return value if abs(value) < 1e300 else 0.5
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {key: _encodable(item) for key, item in value.items()}
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@given(st.integers() | st.booleans() | st.floats() | st.text())
def test_a_count_fits_into_a_database(value: object) -> None:
    found = count(value)
    assert found is None or (found is value and 0 <= found <= MAX_COUNT)


@given(st.text())
def test_a_text_can_be_stored_and_shown(value: str) -> None:
    text(value).encode()
    assert "\x00" not in text(value)


@pytest.mark.parametrize("value", ["2319-03-03T08:14:13.931873243Z", "2026-11-21T08:36:57.07915851+02:00"])
def test_nanoseconds_do_not_hide_a_moment(value: str) -> None:
    assert instant(value) is not None


@pytest.mark.parametrize(
    "value", ["", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "yesterday", None, 1]
)
def test_what_is_no_moment_with_a_time_zone_is_none(value: object) -> None:
    assert instant(value) is None


@pytest.mark.parametrize("expires_at", ["0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59-12:00", "1970-01-01T00:00:00Z"])
@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT"])
async def test_no_clock_and_no_expiry_is_so_odd_that_a_model_cannot_be_observed(expires_at: str, date: str) -> None:
    listed = {"models": [{"name": "llama3.2:1b", "expires_at": expires_at}]}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=listed, headers={"Date": date}))
    backend = backend_for("ollama", "http://127.0.0.1:11434", transport=transport)
    assert [model.name for model in (await backend.observe()).resident] == ["llama3.2:1b"]


@pytest.mark.parametrize(
    ("message", "hint", "words"),
    [
        ("file does not exist", "Check its name.", "file does not exist. Check its name."),
        ("It is gone.", "Check its name.", "It is gone. Check its name."),
        ("file does not exist", "", "file does not exist"),
    ],
)
def test_an_endpoints_words_end_before_the_hint_begins(message, hint, words):
    assert BackendError(message, hint=hint).words == words
