"""A planner runs for a bounded time, writes a bounded answer, and leaves nothing behind."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from models_app.probes.planner import MOST_OUTPUT_BYTES, PlannerFailed, planner_beside, run_planner


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    return path


def program(folder: Path, body: str) -> Path:
    """A planner in Python."""
    path = folder / "llama-fit-params"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
    path.chmod(0o755)
    return path


def test_the_answer_is_what_the_program_prints(tmp_path: Path, model: Path) -> None:
    binary = program(tmp_path, "print(*sys.argv[1:])")
    assert run_planner(binary, model, ["--ctx-size", "4096"]) == f"--model {model} --ctx-size 4096 --fit-print on\n"


def test_settings_of_llama_cpp_in_the_environment_stay_out(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    names = run_planner(program(tmp_path, "print(*os.environ)"), model, []).split()
    assert "CUDA_VISIBLE_DEVICES" in names
    assert "LLAMA_ARG_CTX_SIZE" not in names


def test_an_exit_code_is_a_failure(tmp_path: Path, model: Path) -> None:
    with pytest.raises(PlannerFailed, match="exit code 3"):
        run_planner(program(tmp_path, "print('Host 1 2 3'); sys.exit(3)"), model, [])


def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path, model: Path) -> None:
    pids = tmp_path / "pids"
    body = f"child = os.fork()\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(60)"
    start = time.monotonic()
    with pytest.raises(PlannerFailed, match="took too long"):
        run_planner(program(tmp_path, body), model, [], deadline_seconds=1.0)
    assert time.monotonic() - start < 30
    left = [psutil.Process(int(pid)) for pid in pids.read_text().split() if psutil.pid_exists(int(pid))]
    psutil.wait_procs(left, timeout=5)
    assert all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in left)


def test_one_that_babbles_is_ended(tmp_path: Path, model: Path) -> None:
    binary = program(tmp_path, f"while True: sys.stdout.write('x' * {MOST_OUTPUT_BYTES})")
    with pytest.raises(PlannerFailed, match="more than a plan"):
        run_planner(binary, model, [])


def test_only_a_file_of_this_machine_is_planned(tmp_path: Path) -> None:
    binary = program(tmp_path, "print('ran')")
    for path in (Path("model.gguf"), tmp_path / "absent.gguf", tmp_path):
        with pytest.raises(PlannerFailed, match="no file of this machine"):
            run_planner(binary, path, [])


def test_a_program_that_is_not_there_says_so(tmp_path: Path, model: Path) -> None:
    with pytest.raises(PlannerFailed, match="No such file"):
        run_planner(tmp_path / "absent", model, [])


def test_a_planner_is_found_beside_a_running_program() -> None:
    here = psutil.Process().pid
    assert planner_beside(here) is None
    assert planner_beside(2**30) is None
