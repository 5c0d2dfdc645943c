"""Raw values from forms and JSON become load options, or an error at their field."""

from __future__ import annotations

import pytest

from models_app.backends.protocol import LoadOptions
from models_app.operations.options import parse_keep_alive, parse_options
from models_app.operations.refusals import RequestRefused


def test_every_option_is_read() -> None:
    raw = {
        "context_length": "8192",
        "parallel": 2,
        "gpu_layers": "33",
        "gpu": "GPU-1",
        "batch": 512,
        "cache_type_k": "Q8_0",
        "cache_type_v": "f16",
        "flash_attention": "on",
        "kv_offload": "off",
        "keep_alive": "1h30m",
        "pinned": True,
    }
    assert parse_options(raw) == LoadOptions(8192, 2, 33, "GPU-1", 512, "q8_0", "f16", True, False, 5400, True)


def test_empty_fields_leave_the_choice_to_the_backend() -> None:
    assert (
        parse_options({"context_length": "", "gpu": None, "flash_attention": "auto", "gpu_layers": "all"}) == LoadOptions()
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("10m", 600), ("1h30m", 5400), ("-1", -1), (-5, -1), ("forever", -1), (90, 90), ("90", 90), ("1d", 86_400), (2.5, 2)],
)
def test_a_keep_alive_is_a_number_a_duration_or_for_ever(value: object, seconds: int) -> None:
    assert parse_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_length", 0),
        ("context_length", -4096),
        ("context_length", "many"),
        ("context_length", 4096.5),
        ("context_length", True),
        ("context_length", float("nan")),
        ("context_length", "9" * 300),
        ("context_length", [4096]),
        ("parallel", 0),
        ("gpu_layers", -2),
        ("gpu", "GPU 0; rm -rf /"),
        ("batch", 0),
        ("cache_type_k", "q3_k"),
        ("flash_attention", "perhaps"),
        ("keep_alive", "10 parsecs"),
        ("keep_alive", "0.1.2"),
        ("keep_alive", "0"),
        ("keep_alive", "99999d"),
        ("keep_alive", "9" * 400),
        ("keep_alive", True),
        ("pinned", "auto"),
    ],
)
def test_a_senseless_value_is_an_error_at_its_field(name: str, value: object) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_options({name: value})
    assert refused.value.code == "invalid_option"
    assert refused.value.field == name
    assert list(refused.value.errors) == [name]


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_options({"context_length": 0, "batch": "x"})
    assert list(refused.value.errors) == ["context_length", "batch"]


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_options({"temperature": 1})
    assert (refused.value.code, refused.value.field) == ("unknown_option", "temperature")
