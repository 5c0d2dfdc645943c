"""Where a load does not fit, the answer says what llama-server would change by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models_app.backends.protocol import LoadOptions
from models_app.catalog.headers import encoded
from models_app.estimator.profiles import CURRENT
from models_app.estimator.server_fit import Unset
from models_app.estimator.types import LoadSettings
from models_app.operations.advising import server_fit_note
from models_app.operations.load_settings import Situation, unset
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject
from tests.tools.model_shapes import header_of

GIB = 1024**3
SUBJECT = Subject(
    None,
    5 * GIB,
    LoadSettings(context_length=131_072),
    CURRENT,
    encoded(header_of("llama-3.1-8b")),
    unset=Unset(context=True, layers=True),
)


def gpu(free_gib: int) -> Room:
    return Room("GPU-0", "GPU 0", 24 * GIB, free_gib * GIB, 0, 2 * GIB, 0, gpu_name="NVIDIA L4")


def test_a_smaller_context_is_said_in_tokens() -> None:
    (note,) = server_fit_note(SUBJECT, [gpu(12)])
    assert note.startswith("llama-server would shrink this load by itself (--fit): about 5")
    assert note.endswith("tokens of context in place of 131,072.")


def test_fewer_layers_are_said_where_the_least_context_does_not_fit() -> None:
    (note,) = server_fit_note(SUBJECT, [gpu(4)])
    assert "about 4,096 tokens" in note
    assert "of 33 layers on the GPUs" in note


@pytest.mark.parametrize(
    ("subject", "rooms"),
    [
        (SUBJECT, [gpu(24)]),
        (SUBJECT, []),
        (replace(SUBJECT, unset=None), [gpu(4)]),
        (replace(SUBJECT, unset=Unset(context=False, layers=False)), [gpu(4)]),
        (replace(SUBJECT, header=b""), [gpu(4)]),
    ],
)
def test_nothing_is_said_where_nothing_would_change(subject: Subject, rooms: list[Room]) -> None:
    assert server_fit_note(subject, rooms) == ()


SITUATION = Situation("llama_server", "router", False, 0, 131_072, False)


@pytest.mark.parametrize(
    ("options", "launch", "expected"),
    [
        (LoadOptions(), {}, Unset(context=True, layers=True)),
        (LoadOptions(context_length=4096), {}, Unset(context=False, layers=True)),
        (LoadOptions(), {"ctx_size": 0}, Unset(context=False, layers=True)),
        (LoadOptions(gpu_layers=10), {}, Unset(context=True, layers=False)),
        (LoadOptions(), {"n_gpu_layers": 99}, Unset(context=True, layers=False)),
        (LoadOptions(), {"tensor_split": [1, 1]}, Unset(context=True, layers=False)),
        (LoadOptions(), {"fit": False}, None),
    ],
)
def test_a_server_may_change_what_nobody_set(
    options: LoadOptions, launch: dict[str, object], expected: Unset | None
) -> None:
    assert unset(options, replace(SITUATION, launch=launch)) == expected


def test_other_programs_shrink_nothing() -> None:
    assert unset(LoadOptions(), replace(SITUATION, kind="ollama")) is None
