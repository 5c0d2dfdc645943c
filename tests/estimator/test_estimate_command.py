"""``manage.py estimate`` reads a file and prints a table or JSON, without a database."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.tools.model_shapes import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("gemma3-1b", tmp_path_factory.mktemp("models") / "gemma.gguf")


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("estimate", *arguments, stdout=output)
    return output.getvalue()


def as_json(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return answer


def test_json_has_every_term_of_every_device(model: Path) -> None:
    answer = as_json(str(model), "--ctx", "8192")
    assert list(answer) == ["grade", "build_profile", "devices", "total_bytes", "error_bytes"]
    terms = ["weights_bytes", "kv_bytes", "recurrent_bytes", "compute_bytes", "overhead_bytes"]
    for device in answer["devices"]:
        assert list(device) == ["name", "kind", *terms, "total_bytes"]
        assert device["total_bytes"] == sum(device[term] for term in terms)
    assert [device["kind"] for device in answer["devices"]] == ["vram", "host_ram"]
    assert answer["total_bytes"] == sum(device["total_bytes"] for device in answer["devices"])
    assert answer["grade"] == "header"


def test_the_table_names_devices_evidence_and_build(model: Path) -> None:
    table = run(str(model), "--ctx", "4096")
    assert table.splitlines()[0].split() == ["device", "weights", "kv", "recurrent", "compute", "overhead", "total"]
    assert table.splitlines()[1].startswith("GPU 0")
    assert "Evidence: header. Build: llama.cpp-2026-06." in table


def test_the_context_is_that_of_all_slots_together(model: Path) -> None:
    one = as_json(str(model), "--ctx", "8192", "--swa-full")
    four = as_json(str(model), "--ctx", "8192", "--parallel", "4", "--swa-full")
    assert one["devices"][0]["kv_bytes"] == four["devices"][0]["kv_bytes"]


def test_every_option_reaches_the_estimate(model: Path) -> None:
    answer = as_json(
        str(model), "--ctx", "16384", "--parallel", "2", "--ngl", "20", "--gpu-bytes", "8000000000,4000000000",
        "--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--batch", "1024", "--ubatch", "256", "--flash-attn", "on",
        "--split", "3,1", "--build", "llama.cpp-2025-12",
    )  # fmt: skip
    first, second, host = answer["devices"]
    assert answer["build_profile"] == "llama.cpp-2025-12"
    assert first["weights_bytes"] > 0
    assert second["weights_bytes"] > 0
    assert host["kv_bytes"] > 0


def test_no_free_bytes_at_all_means_no_gpu(model: Path) -> None:
    assert [device["name"] for device in as_json(str(model), "--gpu-bytes", "0")["devices"]] == ["Host"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.gguf"], "No such file"),
        ([__file__], "not with b'GGUF'"),
        (["{model}", "--ctx", "0"], "context_length must be at least 1"),
        (["{model}", "--parallel", "0"], "parallel must be at least 1"),
        (["{model}", "--cache-type-v", "q8_0", "--flash-attn", "off"], "needs flash attention"),
        (["{model}", "--gpu-bytes", "many"], "no list of whole numbers"),
        (["{model}", "--split", "a,b"], "no list of numbers"),
    ],
)
def test_bad_input_is_refused_with_the_reason(model: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*(argument.format(model=model) for argument in arguments))


@pytest.mark.parametrize("arguments", [["/nowhere/model.gguf"], ["{model}", "--ctx", "-5"], []])
def test_a_refusal_ends_with_status_two(model: Path, arguments: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        run(*(argument.format(model=model) for argument in arguments))
    assert caught.value.returncode == 2


def test_the_planner_of_llama_cpp_can_be_asked_instead(model: Path, tmp_path: Path) -> None:
    planner = tmp_path / "llama-fit-params"
    planner.write_text("#!/bin/sh\necho CUDA0 900 40 600\necho Host 300 0 20\n")
    planner.chmod(0o755)
    answer = as_json(str(model), "--ctx", "8192", "--oracle", str(planner))
    assert answer["grade"] == "oracle"
    assert answer["devices"][0]["weights_bytes"] // 1024**2 == 900


def test_a_planner_that_sees_other_gpus_is_an_error(model: Path, tmp_path: Path) -> None:
    planner = tmp_path / "llama-fit-params"
    planner.write_text("#!/bin/sh\necho Host 300 0 20\n")
    planner.chmod(0o755)
    with pytest.raises(CommandError, match="sees 0 GPUs, not 1"):
        run(str(model), "--oracle", str(planner), "--gpu-bytes", "8000000000")
    with pytest.raises(CommandError, match="exit code 1"):
        run(str(model), "--oracle", "/bin/false")


def test_what_llama_server_would_shrink_by_itself_is_said(model: Path) -> None:
    table = run(str(model), "--ctx", "32768", "--gpu-bytes", "1800000000")
    assert "llama-server would shrink this load by itself (--fit)" in table
    assert "layers on the GPUs" in table
    for wide in ("80000000000", "0"):
        assert "--fit" not in run(str(model), "--ctx", "32768", "--gpu-bytes", wide)
    assert "--fit" not in run(str(model), "--ctx", "32768", "--gpu-bytes", "1800000000", "--ngl", "99")
