"""A request's body has an end before it fills the disk, whoever sends it and whatever for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from controlpanel.handler import MOST_BODY_BYTES, Handler


def size_of_upload(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(sum(len(chunk) for chunk in request)))


urlpatterns = [path("", size_of_upload)]


@pytest.fixture
def handler() -> Iterator[Handler]:
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[], ALLOWED_HOSTS=["*"]):
        yield Handler()


async def post(handler: Handler, *chunks: bytes) -> tuple[dict[str, Any], bytes]:
    """The begin and the body of the answer to a request that sends these chunks, and would send more."""
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/", "headers": []}
    request = ApplicationCommunicator(handler, {**scope, "query_string": b""})
    for chunk in chunks:
        await request.send_input({"type": "http.request", "body": chunk, "more_body": True})
    await request.send_input({"type": "http.request"})
    start = await request.receive_output(10)
    body = await request.receive_output(10)
    await request.wait(10)
    return start, body["body"]


async def test_a_body_of_the_greatest_size_arrives_whole(handler: Handler) -> None:
    start, body = await post(handler, bytes(MOST_BODY_BYTES - 1), b"x")
    assert (start["status"], int(body)) == (200, MOST_BODY_BYTES)


async def test_a_larger_one_is_refused_without_being_read_to_its_end(handler: Handler) -> None:
    start, body = await post(handler, *[bytes(MOST_BODY_BYTES)] * 3)
    assert start["status"] == 413
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(body)["code"] == "too_large"


async def test_the_request_after_it_is_answered(handler: Handler) -> None:
    await post(handler, bytes(MOST_BODY_BYTES), b"x")
    assert (await post(handler, b"abc"))[1] == b"3"
