"""``manage.py up`` as a process: how it starts, what it says, and that nothing of it stays."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import psutil
import pytest

from models_app.management.commands.up import exposure_warning, reset_command
from tests.fixtures.panels import StartPanel
from tests.panels import ADMIN, DIES_WITH_US, ROOT, Panel, add_endpoint, wait_until

PASSWORD_LINE = re.compile(r"Log in as admin with the password (\S+)")


@pytest.fixture(scope="module")
def first_panel(start_panel: StartPanel) -> Panel:
    """A panel that made its own first password and listens on every address."""
    return start_panel(BERTH_ADMIN_PASSWORD="", BERTH_HOST="0.0.0.0")


def is_listening(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def children_of(panel: Panel) -> list[psutil.Process]:
    assert panel.process
    return psutil.Process(panel.process.pid).children(recursive=True)


def test_the_first_start_prints_a_password_that_opens_the_door(first_panel: Panel) -> None:
    printed = PASSWORD_LINE.findall(first_panel.log_tail())
    assert len(printed) == 1
    with first_panel.signed_in(ADMIN, printed[0]) as browser:
        assert "generated password" in browser.get("/").text


def test_an_address_beyond_this_machine_is_warned_about(first_panel: Panel) -> None:
    assert "0.0.0.0 is reachable from other machines without TLS" in first_panel.log_tail()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_warning(host: str, settings: Any) -> None:
    settings.HOST, settings.BEHIND_TLS = host, False
    assert exposure_warning() == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu-1.example"])
def test_any_other_address_does_unless_a_proxy_terminates_tls(host: str, settings: Any) -> None:
    settings.HOST, settings.BEHIND_TLS = host, False
    assert exposure_warning().startswith(f"{host} is reachable from other machines")
    settings.BEHIND_TLS = True
    assert exposure_warning() == ""


def test_the_way_back_in_names_the_python_and_the_folder_in_use(settings: Any, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    settings.DATA_DIR = tmp_path / "data"
    assert reset_command() == ".venv/bin/python manage.py resetadmin"
    settings.DATA_DIR = tmp_path / "demo data"
    assert reset_command() == f"BERTH_DATA_DIR='{tmp_path}/demo data' .venv/bin/python manage.py resetadmin"


def test_a_second_start_says_who_runs(first_panel: Panel) -> None:
    assert first_panel.process
    second = first_panel.manage("up")
    assert second.returncode == 1
    assert f"A panel already uses {first_panel.data} (process {first_panel.process.pid})" in second.stderr
    assert httpx.get(f"{first_panel.url}/readyz").is_success


def test_a_token_from_the_command_line_opens_the_api(first_panel: Panel) -> None:
    made = first_panel.manage("token", "create", "script", "--scope", "write")
    assert made.returncode == 0, made.stderr
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    hosts = httpx.get(f"{first_panel.url}/api/v1/hosts", headers=headers)
    assert [host["is_local"] for host in hosts.json()["items"]] == [True]
    asked = httpx.post(f"{first_panel.url}/api/v1/operations", headers=headers, json={"kind": "load"})
    assert asked.status_code == 422


def test_a_lost_password_is_reset_while_the_panel_runs(first_panel: Panel) -> None:
    reset = first_panel.manage("resetadmin")
    printed = PASSWORD_LINE.findall(reset.stdout)
    assert len(printed) == 1, reset.stderr
    with first_panel.signed_in(ADMIN, printed[0]) as browser:
        assert browser.get("/users/").is_success


def test_ctrl_c_and_sigterm_leave_nothing_behind_and_the_second_start_prints_no_password(new_panel: StartPanel) -> None:
    panel = new_panel(BERTH_ADMIN_PASSWORD="")
    for number in (signal.SIGINT, signal.SIGTERM):
        panel.start()
        family = children_of(panel)
        assert panel.stop(number) == 0, panel.log_tail()
        assert not is_listening(panel.port)
        assert [process for process in family if process.is_running()] == []
    assert len(PASSWORD_LINE.findall(panel.log_tail())) == 1
    assert panel.log_tail().count("Stopped.") == 2
    assert "Traceback" not in panel.log_tail()


def test_ctrl_c_does_not_wait_for_a_load_that_hangs_and_the_next_start_goes_on_with_it(
    new_panel: StartPanel, ollama_process: str
) -> None:
    panel = new_panel()
    panel.start()
    endpoint = add_endpoint(panel, ollama_process, "ollama")
    httpx.post(f"{ollama_process}/simulation/faults", json={"fault": "stall_load"}).raise_for_status()
    with panel.signed_in() as browser:
        asked = {"kind": "load", "endpoint": endpoint, "model": "llama3.2:3b"}
        address = browser.post("/api/v1/operations", json=asked).headers["Location"]
        wait_until(lambda: browser.get(address).json()["state"] == "running", "the load runs")
    assert panel.stop() == 0, panel.log_tail()
    httpx.delete(f"{ollama_process}/simulation/faults").raise_for_status()
    panel.start()
    with panel.signed_in() as browser:
        ended = browser.get(address, params={"wait": 20}).json()
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)


def test_a_part_that_crashes_ends_the_whole_process(new_panel: StartPanel) -> None:
    panel = new_panel()
    command = [*DIES_WITH_US, sys.executable, "-m", "tests.runtime.broken_panel"]
    run = subprocess.run(command, cwd=ROOT, env=panel.environment, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "The panel stopped because a part of it ended: out of order" in run.stderr
    assert "is ready at" in run.stdout
    assert not is_listening(panel.port)


def test_a_taken_port_is_named_and_costs_no_password(new_panel: StartPanel) -> None:
    panel = new_panel(BERTH_ADMIN_PASSWORD="")
    with socket.create_server(("127.0.0.1", panel.port)):
        refused = panel.manage("up")
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1, port {panel.port}: Address already in use." in refused.stderr
    assert "choose another BERTH_PORT" in refused.stderr
    assert "password" not in refused.stdout
    assert not (panel.data / "berth.sqlite3").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BERTH_PORT", "abc", "BERTH_PORT is 'abc'; it must be a whole number."),
        ("BERTH_PORT", "99999", "BERTH_PORT is 99999; the most is 65535."),
        ("BERTH_HEADROOM", "10", "BERTH_HEADROOM is 10.0; it must be from 0 to 1."),
        ("BERTH_BEHIND_TLS", "yep", "BERTH_BEHIND_TLS is 'yep'; it must be 1 or 0."),
        ("BERTH_DATA_DIR", "/proc/berth", "BERTH_DATA_DIR is /proc/berth, which cannot be used"),
        ("BERTH_DATA_DIR", __file__, "which cannot be used: File exists."),
        ("BERTH_HOST", "192.0.2.1", "cannot listen on 192.0.2.1"),
        ("BERTH_LOG_LEVEL", "loud", "BERTH_LOG_LEVEL is 'LOUD'; it must be one of DEBUG, INFO,"),
        ("BERTH_SECRET_KEY", "secret@", "BERTH_SECRET_KEY has 7 characters; a key has 32 or more."),
        ("DATABASE_URL", "mongo://secret@host/x", "DATABASE_URL is not an address such as postgres://"),
    ],
)
def test_a_setting_that_cannot_be_is_named_in_one_sentence(
    name: str, value: str, words: str, new_panel: StartPanel
) -> None:
    refused = new_panel(**{name: value}).manage("up")
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "secret@" not in refused.stderr


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("secret-key", "", "secret-key has 0 characters; a key has 32 or more. Restore it from a copy"),
        ("berth.sqlite3", "no database" * 100, "berth.sqlite3 is damaged, or no database: restore a copy"),
    ],
)
def test_a_file_that_is_damaged_is_named_and_left_as_it_is(
    file: str, content: str, words: str, new_panel: StartPanel
) -> None:
    panel = new_panel()
    panel.data.mkdir(exist_ok=True)
    (panel.data / file).write_text(content)
    refused = panel.manage("up")
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (panel.data / file).read_text() == content


def test_health_and_readiness_need_no_gpu(first_panel: Panel) -> None:
    assert httpx.get(f"{first_panel.url}/healthz").json() == {"status": "alive"}
    parts = httpx.get(f"{first_panel.url}/readyz").json()["parts"]
    assert set(parts.values()) == {"ok"}, json.dumps(parts)
