"""Requests run in threads that outlive them, each on its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from controlpanel.handler import MOST_IDLE_THREADS, Handler

MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.clickjacking.XFrameOptionsMiddleware"]
together = threading.Barrier(2)


def thread_of_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(threading.get_ident()))


def thread_of_view_beside_another(request: HttpRequest) -> HttpResponse:
    together.wait(10)
    return thread_of_view(request)


def fails(request: HttpRequest) -> HttpResponse:
    raise LookupError("there is nothing here")


urlpatterns = [path("", thread_of_view), path("together/", thread_of_view_beside_another), path("fails/", fails)]


@pytest.fixture
def handler() -> Iterator[Handler]:
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=MIDDLEWARE, ALLOWED_HOSTS=["*"]):
        yield Handler()


async def get(handler: Handler, address: str) -> tuple[int, str]:
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "GET", "path": address, "headers": []}
    request = ApplicationCommunicator(handler, {**scope, "query_string": b""})
    await request.send_input({"type": "http.request"})
    start = await request.receive_output(10)
    body = await request.receive_output(10)
    await request.wait(10)
    return start["status"], body["body"].decode()


async def test_one_request_after_another_runs_in_the_same_thread(handler: Handler) -> None:
    answers = [await get(handler, "/") for _ in range(3)]
    assert len(set(answers)) == 1


async def test_two_requests_at_once_run_in_two_threads(handler: Handler) -> None:
    answers = await asyncio.gather(get(handler, "/together/"), get(handler, "/together/"))
    assert {status for status, _ in answers} == {200}
    assert len({thread for _, thread in answers}) == 2


async def test_a_view_that_fails_is_answered_and_its_thread_goes_on(handler: Handler) -> None:
    before = await get(handler, "/")
    assert (await get(handler, "/fails/"))[0] == 500
    assert await get(handler, "/") == before


async def test_no_more_than_a_few_threads_are_kept_after_a_rush(handler: Handler) -> None:
    before = threading.active_count()
    await asyncio.gather(*(get(handler, "/") for _ in range(4 * MOST_IDLE_THREADS)))
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("request")]:
        if threading.active_count() <= before + MOST_IDLE_THREADS:
            break
        thread.join(0.5)
    assert threading.active_count() <= before + MOST_IDLE_THREADS
