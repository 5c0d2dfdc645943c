"""Whatever a server does, the client answers in time with one error of the family, and keeps its key to itself."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from contextlib import aclosing
from typing import Any

import pytest

from models_app.backends.errors import (
    BackendError,
    BadAnswer,
    Busy,
    ConnectionRefused,
    NotFound,
    OutOfMemory,
    Rejected,
    ServerFault,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from models_app.backends.http import Call, Http, Limits
from tests.backends.conftest import Listen, http_answer, says

SHORT = Limits(poll_seconds=0.2, command_seconds=0.2, load_seconds=0.2, stream_seconds=1.0, stream_idle_seconds=0.2)
PATIENT = Limits(poll_seconds=30)
KEY = "sekret-key"
OOM = "llama-server process has terminated: cudaMalloc failed: out of memory"


async def failure(url: str, limits: Limits = PATIENT) -> BackendError:
    """The error of one call."""
    http = Http(url, api_key=KEY, limits=limits)
    try:
        await http.json("GET", "/api/version")
    except BackendError as error:
        return error
    finally:
        await http.aclose()
    pytest.fail("the call should have failed")


async def test_a_refused_connection_says_what_to_do(unused_tcp_port: int) -> None:
    error = await failure(f"http://127.0.0.1:{unused_tcp_port}")
    assert isinstance(error, ConnectionRefused)
    assert error.message == f"Nothing listens on 127.0.0.1:{unused_tcp_port}."
    assert "11434" in error.hint
    assert error.retryable


async def test_a_refused_connection_to_another_host_speaks_of_ollama_host(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int, **_: object) -> list[object]:
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    error = await failure(f"http://gpu-1.example:{unused_tcp_port}")
    assert isinstance(error, ConnectionRefused)
    assert "OLLAMA_HOST=0.0.0.0" in error.hint


async def test_a_server_that_never_answers_times_out(listen: Listen) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    error = await failure(await listen(hang), SHORT)
    assert isinstance(error, TimedOut)
    assert error.retryable


async def test_a_server_that_drips_its_answer_times_out(listen: Listen) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert isinstance(await failure(await listen(drip), SHORT), TimedOut)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Unreachable),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Unreachable),
        (http_answer("200 OK", b"<html>Welcome</html>"), BadAnswer),
        (http_answer("200 OK", b"\xff\xfe"), BadAnswer),
        (http_answer("200 OK", b"[" * 100_000), BadAnswer),
        (http_answer("200 OK", b"1" * 10_000), BadAnswer),
        (http_answer("301 Moved", b"", "Location: http://169.254.169.254/\r\n"), BadAnswer),
        (http_answer("400 Bad Request", b'{"error": "no"}'), Rejected),
        (http_answer("401 Unauthorized", b'{"error": {"message": "Invalid API Key"}}'), Unauthorized),
        (http_answer("403 Forbidden", b""), Unauthorized),
        (http_answer("404 Not Found", b'{"error": "model not found"}'), NotFound),
        (http_answer("429 Too Many Requests", b""), Busy),
        (http_answer("500 Internal", b'{"error": "boom"}'), ServerFault),
        (http_answer("500 Internal", json.dumps({"error": OOM}).encode()), OutOfMemory),
        (http_answer("500 Internal", b'{"error": null}'), ServerFault),
        (http_answer("502 Bad Gateway", b"<html>nginx</html>"), ServerFault),
        (http_answer("503 Unavailable", b'{"error": {"message": "Loading model"}}'), Busy),
        (http_answer("504 Gateway Timeout", b""), TimedOut),
    ],
)
async def test_every_fault_is_one_error_of_the_family(listen: Listen, answer: bytes, expected: type[BackendError]) -> None:
    error = await failure(await listen(says(answer)))
    assert type(error) is expected
    assert error.message
    assert KEY not in f"{error!r} {error} {error.hint} {error.__cause__!r}"


async def test_the_endpoints_own_words_are_kept(listen: Listen) -> None:
    error = await failure(await listen(says(http_answer("500 Internal", b'{"error": "tensor exceeds file size"}'))))
    assert (error.message, error.status) == ("tensor exceeds file size", 500)


async def test_ten_megabytes_of_json_are_not_read_to_the_end(listen: Listen) -> None:
    sent = 0
    gone = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"[" * 65536)
                await writer.drain()
                sent += 65536
        finally:
            gone.set()

    error = await failure(await listen(flood), Limits())
    assert isinstance(error, BadAnswer)
    assert "larger than 4096 KiB" in error.message
    await asyncio.wait_for(gone.wait(), 5)
    assert sent < 30_000_000


async def test_a_compressed_answer_is_refused_unopened(listen: Listen) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    error = await failure(await listen(says(http_answer("200 OK", bomb, "Content-Encoding: gzip\r\n"))))
    assert isinstance(error, BadAnswer)
    assert "compressed" in error.message


async def test_an_echoed_key_is_cut_out_of_the_error(listen: Listen) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Authorization: Bearer {KEY}".encode() in head
        writer.write(http_answer("400 Bad Request", json.dumps({"error": head.decode()}).encode()))
        await writer.drain()

    error = await failure(await listen(echo))
    assert isinstance(error, Rejected)
    assert "Bearer …" in error.message
    assert KEY not in f"{error!r} {error}"


@pytest.mark.parametrize("key", ["one\r\nX-Other: two", "pasted ", " pasted", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(Rejected, match="header") as refused:
        Http("http://127.0.0.1:11434", api_key=key)
    assert key.strip() not in refused.value.message


async def _plain_answer_to_a_tls_greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def test_plain_http_behind_https_is_explained(listen: Listen) -> None:
    url = await listen(_plain_answer_to_a_tls_greeting)
    error = await failure(url.replace("http://", "https://"), Limits())
    assert isinstance(error, Unreachable)
    assert "TLS" in error.message


async def test_a_stream_ends_at_a_line_without_end(listen: Listen) -> None:
    url = await listen(says(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", b"x" * 900_000))
    with pytest.raises(BadAnswer, match="line"):
        await _lines(url)


async def test_a_stream_that_falls_silent_times_out(listen: Listen) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\none\n")
        await reader.read()
        await reader.read()

    with pytest.raises(TimedOut):
        await _lines(await listen(stall))


async def test_a_stream_that_dies_half_way_says_so(listen: Listen) -> None:
    with pytest.raises(Unreachable):
        await _lines(await listen(says(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\none\ntwo\n")))


async def test_a_stream_yields_the_last_line_without_its_end(listen: Listen) -> None:
    assert await _lines(await listen(says(http_answer("200 OK", b"one\ntwo")))) == [b"one", b"two"]


async def _lines(url: str) -> list[bytes]:
    http = Http(url, limits=SHORT)
    try:
        async with aclosing(http.lines("GET", "/models/sse")) as lines:
            return [line async for line in lines]
    finally:
        await http.aclose()


async def test_polls_are_answered_while_loads_hang(listen: Listen) -> None:
    async def answer_only_polls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/load" in await reader.readuntil(b"\r\n\r\n"):
            await reader.read()
        writer.write(http_answer("200 OK", b"{}"))
        await writer.drain()

    http = Http(await listen(answer_only_polls))
    loads = [asyncio.create_task(http.json("GET", "/load", call=Call.LOAD)) for _ in range(40)]
    assert await asyncio.gather(*[http.json("GET", "/poll") for _ in range(8)]) == [{}] * 8
    for load in loads:
        load.cancel()
    await asyncio.gather(*loads, return_exceptions=True)
    await http.aclose()


async def test_a_certificate_is_verified_for_the_name(monkeypatch: pytest.MonkeyPatch, listen: Listen) -> None:
    """The name, not the checked address, is what TLS asks for."""
    asked: list[object] = []
    start = ssl.SSLContext.wrap_bio

    def wrap_bio(self: ssl.SSLContext, *args: Any, server_hostname: Any = None, **kwargs: Any) -> ssl.SSLObject:
        asked.append(server_hostname)
        assert self.verify_mode is ssl.CERT_REQUIRED
        assert self.check_hostname
        return start(self, *args, server_hostname=server_hostname, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "wrap_bio", wrap_bio)
    url = await listen(_plain_answer_to_a_tls_greeting)
    await failure(url.replace("http://127.0.0.1", "https://localhost"), Limits())
    assert asked == [b"localhost"]
