"""Mail as Django sends it, in conversations that end in time: a server that answers a byte now and then holds up nobody."""

from __future__ import annotations

import smtplib
import socket
import time
from contextlib import suppress
from threading import Timer
from typing import Any

from django.core.mail.backends.smtp import EmailBackend

CONVERSATION_SECONDS = 45.0
"""From connecting to the last answer: less than a message's lease, so that nobody else sends it meanwhile."""


class _Bounded(smtplib.SMTP):
    """Each read has a limit of its own; this one is that of all together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._until = time.monotonic() + CONVERSATION_SECONDS
        self._end = Timer(CONVERSATION_SECONDS, self._hang_up)
        self._end.daemon = True
        self._end.start()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self._end.cancel()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """As always. Raises ``SMTPServerDisconnected`` when the time is over, also where connecting took it up."""
        try:
            reply = super().getreply()
        except (smtplib.SMTPException, OSError):
            self._check_time()
            raise
        self._check_time()
        return reply

    def close(self) -> None:
        self._end.cancel()
        super().close()

    def _check_time(self) -> None:
        if time.monotonic() >= self._until:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"It took longer than {CONVERSATION_SECONDS:g} s.")

    def _hang_up(self) -> None:
        """Wake the thread that reads; past TLS, which another thread must not touch."""
        if self.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _BoundedOverTls(_Bounded, smtplib.SMTP_SSL):
    """The same where the conversation begins with TLS."""


class BoundedBackend(EmailBackend):
    """Django's own, with such conversations."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return _BoundedOverTls if self.use_ssl else _Bounded
