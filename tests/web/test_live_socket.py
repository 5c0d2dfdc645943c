"""The live socket: who gets in, what is sent, and who is thrown out."""

from __future__ import annotations

import asyncio
import json
import threading
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connections
from django.http import QueryDict
from django.test import Client

from controlpanel.asgi import application
from models_app.accounts.roles import Role, set_role
from models_app.accounts.standing import Login
from models_app.live import Topic, publish
from models_app.operations.models import Operation
from models_app.telemetry.collector import record_newest
from models_app.telemetry.known import Newest
from models_app.web import screens
from models_app.web.fleet_page import screen_name
from models_app.web.hub import Hub, hub
from models_app.web.viewer import Viewer
from tests.factories import GIB, AlertFactory, HostFactory, OperationFactory
from tests.web.fleet_rows import SmallFleet, record, report, small_fleet

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 10


class Browser:
    """One socket, with the cookies of a signed-in client."""

    def __init__(
        self, client: Client, screen: str = "fleet", origin: bytes = b"http://localhost", query: bytes = b""
    ) -> None:
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items()).encode()
        path = f"/live/{screen}/"
        headers = [(b"origin", origin), (b"host", b"localhost"), (b"cookie", cookie)]
        self.socket = ApplicationCommunicator(
            application,
            {"type": "websocket", "path": path, "query_string": query, "headers": headers, "subprotocols": []},
        )

    async def __aenter__(self) -> Browser:
        await self.send("websocket.connect")
        self.accepted = (await self.socket.receive_output(timeout=PATIENCE))["type"] == "websocket.accept"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.send("websocket.disconnect", code=1001)
        await self.socket.wait(timeout=PATIENCE)

    async def send(self, kind: str, **content: object) -> None:
        await self.socket.send_input({"type": kind, **content})

    async def message(self) -> dict[str, Any]:
        event = await self.socket.receive_output(timeout=PATIENCE)
        assert event["type"] == "websocket.send", event
        return json.loads(event["text"])

    async def message_with(self, fragment: str) -> dict[str, Any]:
        """The next message that changes the fragment."""
        while fragment not in (message := await self.message())["fragments"] | message["patches"]:
            pass
        return message

    async def closing(self) -> int:
        while (event := await self.socket.receive_output(timeout=PATIENCE))["type"] != "websocket.close":
            pass
        return event["code"]


def news(message: dict[str, Any], fragment: str) -> str:
    """What a message says of a fragment, whole or patched."""
    return json.dumps(message["fragments"].get(fragment) or message["patches"][fragment])


@sync_to_async
def in_database(work: Any, *arguments: Any) -> Any:
    try:
        return work(*arguments)
    finally:
        connections.close_all()


@pytest.fixture(autouse=True)
async def hub_has_finished(transactional_db):
    """What the hub's thread still reads when the last socket has left must not meet the emptying of the tables."""
    yield
    await hub()._in_thread(bool)


@pytest.fixture
def rows(transactional_db) -> SmallFleet:
    return small_fleet()


async def test_a_visitor_is_turned_away(rows):
    async with Browser(Client()) as browser:
        assert await browser.closing() == 4401


async def test_a_user_without_a_role_is_turned_away(rows, as_member, member):
    await in_database(member.groups.clear)
    async with Browser(as_member) as browser:
        assert await browser.closing() == 4403


@pytest.mark.parametrize("origin", [b"https://evil.example", b"http://localhost.evil.example", b"null"])
async def test_a_page_of_another_site_gets_no_socket(rows, as_admin, origin):
    async with Browser(as_admin, origin=origin) as browser:
        assert not browser.accepted


async def test_the_first_message_is_the_whole_screen(rows, as_member):
    async with Browser(as_member) as browser:
        first = await browser.message()
    assert first["after"] is None
    alone = {"fleet-head", "no-operations", "no-alarms", "alarm-bell", "alarm-banner"}
    assert set(first["fragments"]) == {f"host-{rows.host.pk}"} | alone
    assert first["lists"] == {
        "fleet-hosts": [f"host-{rows.host.pk}"],
        "fleet-operations": ["no-operations"],
        "fleet-alerts": ["no-alarms"],
    }


async def test_a_page_that_patches_do_not_fit_is_sent_whole_fragments_beside_others(rows, as_member):
    name = f"host-{rows.host.pk}"
    async with Browser(as_member) as patched, Browser(as_member, query=b"whole") as whole:
        for browser in (patched, whole):
            await browser.message()
        await in_database(record, rows, 9 * GIB)
        await in_database(publish, Topic.TELEMETRY)
        assert name in (await patched.message_with(name))["patches"]
        change = await whole.message_with(name)
    assert change["patches"] == {}
    assert change["fragments"][name].startswith("<article")


async def test_the_socket_of_a_host_sends_that_host_alone(rows, as_member):
    other = await in_database(small_fleet)
    async with Browser(as_member, f"host-{rows.host.pk}") as browser:
        first = await browser.message()
        await in_database(record, other, 11 * GIB)
        await in_database(record, rows, 9 * GIB)
        await in_database(publish, Topic.TELEMETRY)
        change = await browser.message_with(f"host-{rows.host.pk}")
    assert first["lists"]["host-card"] == [f"host-{rows.host.pk}"]
    assert "host-details" in first["fragments"]
    assert not {f"host-{other.host.pk}", "fleet-head"} & (first["fragments"].keys() | change["fragments"].keys())
    assert "9.0" in news(change, f"host-{rows.host.pk}")


async def test_whoever_receives_samples_is_told_which_hosts_are_looked_at(rows, as_member, monkeypatch):
    told, heard = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    remember = lambda host_id: heard.append(host_id) or loop.call_soon_threadsafe(told.set)  # noqa: E731
    monkeypatch.setattr("models_app.web.watched.watch", remember)
    async with Browser(as_member, f"host-{rows.host.pk}") as browser:
        await browser.message()
        await asyncio.wait_for(told.wait(), PATIENCE)
    assert set(heard) == {rows.host.pk}


async def test_the_socket_of_a_page_of_hosts_sends_these_hosts(rows, as_member):
    await in_database(partial(HostFactory, name="borealis"))
    screen = screen_name(QueryDict("q=boreal&page=1"))
    async with Browser(as_member, screen) as browser:
        first = await browser.message()
    assert len(first["lists"]["fleet-hosts"]) == 1
    assert "borealis" in first["fragments"][first["lists"]["fleet-hosts"][0]]
    assert "2 hosts" in first["fragments"]["fleet-head"]


@pytest.mark.parametrize("screen", ["host-0", "host-999999", "fleet-_", "fleet-" + "A" * 2000, "nothing"])
async def test_a_screen_that_is_not_there_has_the_bell_and_no_host(rows, as_member, screen):
    async with Browser(as_member, screen) as browser:
        first = await browser.message()
    assert "alarm-bell" in first["fragments"]
    assert not first["lists"].get("host-card")


async def test_admins_get_buttons_and_members_none(rows, as_member, as_admin):
    name = f"host-{rows.host.pk}"
    async with Browser(as_member) as member, Browser(as_admin) as admin:
        assert "<form" not in (await member.message())["fragments"][name]
        assert "<form" in (await admin.message())["fragments"][name]


async def test_a_new_sample_sends_what_changed_and_nothing_else(rows, as_member):
    async with Browser(as_member) as browser:
        first = await browser.message()
        await in_database(report, rows, 9 * GIB)
        change = await browser.message_with(f"host-{rows.host.pk}")
    assert "9.0" in news(change, f"host-{rows.host.pk}")
    assert "no-operations" not in change["fragments"]
    assert change["lists"] == {}
    assert change["after"] == first["revision"]


async def test_a_sample_like_the_one_before_sends_its_figures_alone(rows, as_member):
    name = f"host-{rows.host.pk}"
    async with Browser(as_member) as browser:
        await browser.message()
        await in_database(report, rows, 9 * GIB)
        await browser.message_with(name)
        await in_database(report, rows, 10 * GIB)
        change = await browser.message_with(name)
    assert change["fragments"] == {}
    assert "10.0" in [text for _, text in change["patches"][name]["texts"]]
    assert {place for place, _, _ in change["patches"][name]["attributes"]}


async def test_a_sample_of_this_process_is_shown_without_being_read(rows, as_member, monkeypatch):
    async with Browser(as_member) as browser:
        await browser.message()
        await in_database(report, rows, 9 * GIB)
        await browser.message_with(f"host-{rows.host.pk}")
        monkeypatch.setattr(Hub, "_read", lambda *_: pytest.fail("it was read"))
        await in_database(report, rows, 10 * GIB)
        change = await browser.message_with(f"host-{rows.host.pk}")
    assert change["topics"] == ["telemetry"]


async def test_a_turn_does_not_take_back_a_sample_that_came_while_it_read(rows, as_member, monkeypatch):
    name, read = f"host-{rows.host.pk}", Hub._read
    began, goes_on = threading.Event(), threading.Event()

    def slow_read(*arguments: Any) -> Any:
        found = read(*arguments)
        began.set()
        assert goes_on.wait(PATIENCE)
        return found

    async with Browser(as_member) as browser:
        await browser.message()
        await in_database(report, rows, 9 * GIB)
        await browser.message_with(name)
        monkeypatch.setattr(Hub, "_read", slow_read)
        await in_database(publish, Topic.ALERT)
        assert await asyncio.to_thread(began.wait, PATIENCE)
        await in_database(report, rows, 11 * GIB)
        assert "11.0" in news(await browser.message_with(name), name)
        monkeypatch.undo()
        goes_on.set()
        while "alert" not in (turn := await browser.message())["topics"]:
            pass
    assert name not in turn["fragments"] | turn["patches"]


async def test_a_sample_is_shown_while_somebody_else_writes(rows, as_member, monkeypatch):
    """And a turn that reads the older row meanwhile does not take it back."""
    name = f"host-{rows.host.pk}"
    written, goes_on = threading.Event(), threading.Event()

    def held_up(newest: Newest) -> bool:
        written.set()
        assert goes_on.wait(PATIENCE)
        return record_newest(newest)

    async with Browser(as_member) as browser:
        await browser.message()
        await in_database(report, rows, 9 * GIB)
        await browser.message_with(name)
        monkeypatch.setattr("tests.web.fleet_rows.record_newest", held_up)
        reporting = asyncio.create_task(asyncio.to_thread(in_database.func, report, rows, 11 * GIB))
        assert "11.0" in news(await browser.message_with(name), name)
        assert await asyncio.to_thread(written.wait, PATIENCE)
        await in_database(publish, Topic.ALERT)
        while "alert" not in (turn := await browser.message())["topics"]:
            pass
        goes_on.set()
        await reporting
    assert name not in turn["fragments"] | turn["patches"]


async def test_the_screen_after_samples_from_memory_is_that_of_the_rows(rows, as_member):
    """Whatever came from memory: a turn that reads the rows finds nothing that differs."""
    name = f"host-{rows.host.pk}"
    async with Browser(as_member) as browser:
        await browser.message()
        for used in (9, 12, 7, 8):
            await in_database(report, rows, used * GIB)
            await browser.message_with(name)
        await in_database(publish, Topic.ALERT)
        while "alert" not in (turn := await browser.message())["topics"]:
            pass
    assert name not in turn["fragments"] | turn["patches"]


async def test_an_operation_appears_in_its_list(rows, as_member):
    async with Browser(as_member) as browser:
        await browser.message()
        row = await in_database(lambda: OperationFactory(endpoint=rows.endpoint, state=Operation.State.RUNNING))
        await in_database(publish, Topic.OPERATION, row.pk)
        change = await browser.message_with(f"operation-{row.pk}")
    assert change["lists"] == {"fleet-operations": [f"operation-{row.pk}"]}
    assert "operation" in change["topics"]


async def test_a_change_by_another_process_is_noticed_by_its_revision(rows, as_member, monkeypatch):
    async with Browser(as_member) as browser:
        await browser.message()
        monkeypatch.setattr("models_app.live._send", lambda _: None)
        await in_database(record, rows, 11 * GIB)
        await in_database(publish, Topic.TELEMETRY, rows.host.pk)
        change = await browser.message_with(f"host-{rows.host.pk}")
    assert "11.0" in news(change, f"host-{rows.host.pk}")


async def test_each_fragment_is_rendered_once_per_role_however_many_look(rows, as_member, as_admin, monkeypatch):
    rendered: list[set[Role]] = []
    render = screens.RowsRenderer.render
    remember = lambda self, roles, topics: rendered.append(set(roles)) or render(self, roles, topics)  # noqa: E731
    monkeypatch.setattr(screens.RowsRenderer, "render", remember)
    async with Browser(as_member) as one, Browser(as_member) as two, Browser(as_admin) as three:
        everybody = (one, two, three)
        await asyncio.gather(*(browser.message() for browser in everybody))
        rendered.clear()
        await in_database(publish, Topic.INVENTORY)
        await asyncio.gather(*(browser.message() for browser in everybody))
        await in_database(report, rows, 9 * GIB)
        await asyncio.gather(*(browser.message_with(f"host-{rows.host.pk}") for browser in everybody))
    assert all(roles == {Role.ADMIN, Role.MEMBER} for roles in rendered)
    assert len(rendered) <= 3


async def test_a_role_taken_away_closes_the_socket_within_five_seconds(rows, as_member, member):
    async with Browser(as_member) as browser:
        await browser.message()
        await in_database(member.groups.clear)
        async with asyncio.timeout(5):
            assert await browser.closing() == 4403


async def test_a_demoted_admin_keeps_no_admin_socket(rows, as_admin, admin):
    async with Browser(as_admin) as browser:
        await browser.message()
        await in_database(set_role, admin, Role.MEMBER)
        await in_database(publish, Topic.ACCOUNTS)
        assert await browser.closing() == 4403


@pytest.mark.parametrize("end", ["logout", "deactivate"])
async def test_an_ended_sign_in_closes_the_socket(rows, as_member, end):
    async with Browser(as_member) as browser:
        await browser.message()
        if end == "logout":
            await in_database(lambda: Session.objects.all().delete())
        else:
            await in_database(lambda: User.objects.update(is_active=False))
        await in_database(publish, Topic.ACCOUNTS)
        assert await browser.closing() == 4401


async def test_whoever_sends_is_cut_off(rows, as_admin):
    async with Browser(as_admin) as browser:
        await browser.send("websocket.receive", text='{"do": "unload"}')
        assert await browser.closing() == 1008
    assert not await in_database(Operation.objects.exists)


async def test_a_page_without_fragments_hears_what_happened(rows, as_member):
    async with Browser(as_member, screen="events") as browser:
        assert set((await browser.message())["fragments"]) == {"alarm-bell", "alarm-banner"}
        await in_database(publish, Topic.INVENTORY)
        while "inventory" not in (await browser.message())["topics"]:
            pass


@pytest.mark.parametrize("screen", ["fleet", "events"])
async def test_a_critical_alert_rings_the_bell_of_every_page_at_once(rows, as_member, screen):
    async with Browser(as_member, screen=screen) as browser:
        assert "No open alerts" in (await browser.message())["fragments"]["alarm-bell"]
        await in_database(partial(AlertFactory, severity="critical", subject_name="GPU 0 of atlas"))
        await in_database(publish, Topic.ALERT)
        change = await browser.message_with("alarm-banner")
    assert "GPU 0 of atlas" in news(change, "alarm-banner")
    assert "1 open alert" in news(change, "alarm-bell")


class SlowBrowser:
    """A socket whose messages are on their way until ``read`` is called."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.code: int | None = None
        self._reads = asyncio.Semaphore(0)

    def viewer(self) -> Viewer:
        return Viewer("fleet", Login(1, "session", "hash"), Role.MEMBER, self.transmit, self.hang_up)

    async def transmit(self, message: str) -> None:
        await self._reads.acquire()
        self.got.append(message)

    async def hang_up(self, code: int) -> None:
        self.code = code

    async def read(self) -> None:
        self._reads.release()
        for _ in range(5):
            await asyncio.sleep(0)


async def test_a_slow_browser_holds_one_message_and_then_gets_everything():
    browser = SlowBrowser()
    viewer = browser.viewer()
    viewer.offer("everything")
    assert not viewer.wants_everything
    viewer.offer("first change")
    viewer.offer("second change")
    assert viewer.wants_everything
    viewer.offer("everything again")
    assert not viewer.wants_everything
    await browser.read()
    await browser.read()
    assert browser.got == ["everything", "everything again"]


async def test_a_browser_that_keeps_up_costs_no_task():
    browser = SlowBrowser()
    viewer = browser.viewer()
    browser._reads.release()
    viewer.offer("everything")
    assert browser.got == ["everything"]


async def test_a_slow_browser_is_cut_off_with_its_code_all_the_same():
    browser = SlowBrowser()
    viewer = browser.viewer()
    viewer.offer("everything")
    viewer.close(4403)
    viewer.offer("too late")
    await browser.read()
    assert browser.code == 4403
    assert browser.got == []
