"""The server of ``sample_to_dom``: the panel and a bare broadcast on one uvicorn, fed alternately."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Any

import uvicorn

from controlpanel.asgi import application  # first: it sets Django up

# isort: split
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from models_app.accounts.roles import Role, set_role
from models_app.web.viewer import Viewer
from tests.factories import GIB
from tests.web.fleet_rows import report, small_fleet

PORT = 8977
PAUSE_SECONDS = 0.5


class Server:
    """The panel and the bare broadcast on one uvicorn, and a thread that feeds them alternately."""

    def __init__(self, rounds: int, port: int = PORT) -> None:
        self.rounds, self.port, self.panel = rounds, port, application
        self.bare: set[Any] = set()
        self.message = ""

    def run(self) -> None:

        call_command("migrate", verbosity=0)
        cookie = self.prepare()
        self.watch_messages()
        as_in_the_panel = {"ws_per_message_deflate": False, "access_log": False, "log_level": "error"}
        config = uvicorn.Config(self.application, interface="asgi3", port=self.port, **as_in_the_panel)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=self.feed, daemon=True)
        threading.Timer(1.5, lambda: (print(cookie, flush=True), thread.start())).start()
        server.run()

    def prepare(self) -> str:

        user = User.objects.create_user("viewer")
        set_role(user, Role.MEMBER)
        self.rows = small_fleet()
        client = Client()
        client.force_login(user)
        return f"sessionid={client.cookies['sessionid'].value}"

    def watch_messages(self) -> None:

        offer = Viewer.offer

        def keep(viewer: Viewer, message: str) -> None:
            if '"host-' in message:
                self.message = message
            offer(viewer, message)

        Viewer.offer = keep  # type: ignore[method-assign]

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        if scope["type"] == "websocket" and scope["path"] == "/bare/":
            await receive()
            await send({"type": "websocket.accept"})
            self.bare.add(send)
            while (await receive())["type"] != "websocket.disconnect":
                pass
            self.bare.discard(send)
        elif scope["type"] != "lifespan":
            await self.panel(scope, receive, send)

    async def broadcast(self, text: str) -> None:
        await asyncio.gather(*(send({"type": "websocket.send", "text": text}) for send in self.bare))

    def feed(self) -> None:

        sys.stdin.readline()
        for number in range(self.rounds):
            began = time.time()
            report(self.rows, (8 + number % 9) * GIB, utilization_percent=number % 100)
            self.say("panel", number, began)
            time.sleep(PAUSE_SECONDS)
            began = time.time()
            text = '{"revision":' + str(number) + self.message[self.message.index(",") :]
            asyncio.run_coroutine_threadsafe(self.broadcast(text), self.loop).result()
            self.say("bare", number, began)
            time.sleep(PAUSE_SECONDS)

    def say(self, kind: str, number: int, began: float) -> None:
        print(json.dumps({"kind": kind, "number": number, "began": began, "size": len(self.message)}), flush=True)


if __name__ == "__main__":
    Server(*map(int, sys.argv[1:])).run()
