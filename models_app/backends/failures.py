"""What went wrong, from an HTTP status or an exception of httpx, in the words of the error family."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator

import httpx

from models_app.backends.address import port_of
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
from models_app.backends.shapes import decoded, text

MAX_MESSAGE_LENGTH = 600

# As CUDA, ggml, Ollama and llama.cpp word it.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|cudaMalloc failed|failed to allocate|insufficient memory|unable to allocate|not enough memory"
    r"|requires more system memory",
    re.IGNORECASE,
)
_LOOPBACK_NAMES = ("localhost", "127.", "::1", "[::1]")


def is_out_of_memory(message: str) -> bool:
    """Whether an endpoint's words say that memory ran out."""
    return _OUT_OF_MEMORY.search(message) is not None


def error_from_status(status: int, body: bytes) -> BackendError:
    """The error for an answer with a status other than 2xx. The endpoint's own words are kept, shortened."""
    words = _words(body) or f"It answered with status {status}."
    if status >= 400 and is_out_of_memory(words):
        return OutOfMemory(words, status=status, hint="Unload another model, or load with a shorter context.")
    if status < 400:
        return BadAnswer(
            f"It answered with status {status}, where a server of models answers at once.",
            status=status,
            hint="Redirects are not followed: enter the address that it leads to.",
        )
    match status:
        case 401 | 403 | 407:
            return Unauthorized(words, status=status, hint=_unauthorized_hint(status))
        case 404:
            return NotFound(words, status=status)
        case 429 | 503:
            return Busy(words, status=status)
        case 408 | 504:
            return TimedOut(words, status=status)
        case _ if status < 500:
            return Rejected(words, status=status)
    return ServerFault(words, status=status)


def error_from_exception(error: Exception, url: httpx.URL) -> BackendError:
    """The error for what httpx raised while talking to ``url``."""
    place = f"{url.host}:{port_of(url)}"
    causes = list(_causes(error))
    if any(isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED for cause in causes):
        return ConnectionRefused(f"Nothing listens on {place}.", hint=_refused_hint(url.host))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Unreachable(f"The name {url.host} cannot be resolved.", hint="Check its spelling, or use an IP address.")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Unreachable(f"No trusted TLS connection to {place}: {_last_words(causes)}", hint="Is it https at all?")
    if isinstance(error, httpx.ConnectTimeout):
        return TimedOut(f"{place} did not accept a connection in time.", hint="Is the host up, and its firewall open?")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return TimedOut(f"{place} did not answer in time.", hint="The server may hang: try again, then restart it.")
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error) and "closed" not in str(error):
        return BadAnswer(f"What listens on {place} does not speak HTTP ({error}).")
    if isinstance(error, httpx.InvalidURL | httpx.LocalProtocolError | UnicodeError):
        return Rejected("The request cannot be written as HTTP.")
    if isinstance(error, httpx.ConnectError):
        return Unreachable(f"{place} cannot be reached: {_last_words(causes)}")
    return Unreachable(f"{place} closed the connection before it had answered.")


def _words(body: bytes) -> str:
    """The endpoint's own sentence: Ollama says ``{"error": text}``, llama-server ``{"error": {"message": text}}``."""
    try:
        answer = decoded(body)
    except BadAnswer:
        plain = text(body.decode(errors="replace")).strip()
        return "" if plain.startswith("<") else plain[:MAX_MESSAGE_LENGTH]
    said = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(said, dict):
        said = said.get("message")
    return text(said)[:MAX_MESSAGE_LENGTH]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what led to it and, for a group, every member."""
    current: BaseException | None = error
    while current is not None:
        yield current
        if isinstance(current, BaseExceptionGroup):
            for member in current.exceptions:
                yield from _causes(member)
        current = current.__cause__ or current.__context__


def _last_words(causes: list[BaseException]) -> str:
    return next((str(cause) for cause in reversed(causes) if str(cause)), "no reason given")


def _refused_hint(host: str) -> str:
    if host.startswith(_LOOPBACK_NAMES):
        return "Start the server on this machine, or correct the port: Ollama listens on 11434, llama-server on its --port."
    return (
        "Ollama listens on loopback only by default: set OLLAMA_HOST=0.0.0.0 on its host and restart it. "
        "llama-server needs --host 0.0.0.0. Protect the port by a firewall or a private network."
    )


def _unauthorized_hint(status: int) -> str:
    if status == 403:
        return "Ollama refuses host names that it does not know: use its IP address, or set OLLAMA_HOST=0.0.0.0."
    return "Enter the API key that the server was started with."
