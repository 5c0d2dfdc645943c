"""Loads on the panel's own host are planned by llama.cpp's planner, where it stands beside the server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import override_settings

from models_app.catalog.headers import encoded
from models_app.estimator.profiles import CURRENT
from models_app.estimator.types import Grade, LoadSettings
from models_app.inventory.models import Endpoint, Host
from models_app.operations import oracle
from models_app.operations.oracle import Planner, planner_for
from models_app.operations.reckoning import reckon_unlearned
from models_app.operations.rooms import Room
from models_app.operations.subject import Subject, with_settings
from tests.tools.model_shapes import header_of

MIB = 1024**2
GIB = 1024**3
GPU = Room("GPU-0", "GPU 0", 24 * GIB, 20 * GIB, 0, 2 * GIB, 0, gpu_name="NVIDIA L4")


@pytest.fixture(autouse=True)
def forget_plans() -> Iterator[None]:
    yield
    oracle._plan.cache_clear()


def planner(folder: Path, answer: str, gpu_count: int = 1) -> Planner:
    """One that always answers so, and leaves a line in ``folder/asked``."""
    binary, model = folder / "llama-fit-params", folder / "model.gguf"
    binary.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(folder / 'asked')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"print({answer!r})\n"
    )
    binary.chmod(0o755)
    model.write_bytes(b"GGUF")
    return Planner(binary, model, gpu_count)


def asked(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().splitlines() if path.exists() else []


def subject(found: Planner | None) -> Subject:
    header = encoded(header_of("llama-3.1-8b"))
    return Subject(None, 5 * GIB, LoadSettings(context_length=8192), CURRENT, header, planner=found)


def test_the_planner_is_believed_and_its_grade_shown(tmp_path: Path) -> None:
    found = reckon_unlearned(subject(planner(tmp_path, "CUDA0 9000 1024 258 \nHost 281 0 16 ")), [GPU])
    assert found.grade is Grade.ORACLE
    assert (found.weights_bytes or 0) // MIB == 9000


def test_the_same_question_is_asked_once(tmp_path: Path) -> None:
    told = subject(planner(tmp_path, "CUDA0 4155 1024 258 \nHost 281 0 16 "))
    reckon_unlearned(told, [GPU])
    reckon_unlearned(told, [replace(GPU, free_bytes=20 * GIB - MIB)])
    assert len(asked(tmp_path)) == 1
    reckon_unlearned(replace(told, settings=LoadSettings(context_length=4096)), [GPU])
    assert len(asked(tmp_path)) == 2


def test_a_refusal_leaves_the_header_and_is_remembered_too(tmp_path: Path) -> None:
    told = subject(planner(tmp_path, "no plan"))
    assert [reckon_unlearned(told, [GPU]).grade for _ in range(2)] == [Grade.HEADER, Grade.HEADER]
    assert len(asked(tmp_path)) == 1


@pytest.mark.parametrize("gpus", [None, [], [GPU, GPU]])
def test_it_is_not_asked_about_other_devices_than_it_sees(tmp_path: Path, gpus: list[Room] | None) -> None:
    assert reckon_unlearned(subject(planner(tmp_path, "Host 1 1 1 ")), gpus).grade is Grade.HEADER
    assert asked(tmp_path) == []


def test_advice_asks_no_planner(tmp_path: Path) -> None:
    assert with_settings(subject(planner(tmp_path, "")), LoadSettings()).planner is None


def endpoint(*, is_local: bool = True, kind: str = "llama_server") -> Endpoint:
    return Endpoint(host=Host(name="here", is_local=is_local), kind=kind, url="http://127.0.0.1:1")


def test_a_planner_is_known_for_files_and_servers_of_the_own_host_only(tmp_path: Path) -> None:
    made = planner(tmp_path, "")
    launch = {"model": str(made.model)}
    with override_settings(LLAMA_FIT_PARAMS=str(made.binary)):
        found = planner_for(endpoint(), launch, 1)
        assert found is not None
        assert (found.binary, found.model, found.gpu_count) == (made.binary, made.model, 1)
        assert planner_for(endpoint(is_local=False), launch, 1) is None
        assert planner_for(endpoint(kind="ollama"), launch, 1) is None
        for path in ("", "model.gguf", str(tmp_path / "absent.gguf"), "/etc/passwd"):
            assert planner_for(endpoint(), {"model": path}, 1) is None


def test_nobody_is_asked_where_the_setting_says_so_or_no_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A llama-server that happens to run on this machine would be taken for the one.
    monkeypatch.setattr("models_app.operations.oracle.server_process", lambda *_: None)
    launch = {"model": str(planner(tmp_path, "").model)}
    with override_settings(LLAMA_FIT_PARAMS="off"):
        assert planner_for(endpoint(), launch, 1) is None
    with override_settings(LLAMA_FIT_PARAMS=""):
        assert planner_for(endpoint(), launch, 1) is None
