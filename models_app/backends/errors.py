"""One family of errors for everything a backend can do wrong.

    BackendError
    ├── Unreachable              nothing answered                          retryable
    │   ├── ConnectionRefused    the port is closed                        retryable
    │   └── TimedOut             it answered too late or not at all        retryable
    ├── AddressRefused           our own policy forbids the address
    ├── Unauthorized             401, 403 or a wrong host header
    ├── BadAnswer                not JSON, too large, wrong shape
    ├── NotFound                 the endpoint does not know the model
    ├── Rejected                 4xx: the endpoint refuses the request
    │   ├── InvalidName          not a name that the endpoint could know
    │   ├── InvalidOption        an option's value makes no sense
    │   ├── UnsupportedOption    this endpoint cannot honour the option
    │   ├── UnsupportedCall      this endpoint cannot do that at all
    │   └── NotAllowed           the file of the host's owner does not allow it
    ├── Busy                     429, 503: try again later                 retryable
    ├── OutOfMemory              the load did not fit
    └── ServerFault              any other 5xx                             retryable
        └── LoadFailed           it tried to load the model and could not

Every error carries a stable ``code`` for machines and a sentence for people.
"""

from __future__ import annotations

from typing import ClassVar


class BackendError(Exception):
    """Base of the family.

    ``message`` says what happened, in the endpoint's words where it gave any; ``hint`` says what to do about it.
    Neither ever contains a key or a header.
    """

    code: ClassVar[str] = "backend_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status

    @property
    def words(self) -> str:
        """The message and the hint as sentences; endpoints often leave out the full stop."""
        ends = self.message.endswith((".", "!", "?", ":"))
        return f"{self.message}{'' if ends else '.'} {self.hint}" if self.hint else self.message


class Unreachable(BackendError):
    code = "endpoint_unreachable"
    retryable = True


class ConnectionRefused(Unreachable):
    code = "endpoint_refused_connection"


class ServerStopped(Unreachable):
    """Nobody wants it to run."""

    code = "server_stopped"


class TimedOut(Unreachable):
    code = "endpoint_timed_out"


class AddressRefused(BackendError):
    code = "address_refused"


class Unauthorized(BackendError):
    code = "endpoint_unauthorized"


class BadAnswer(BackendError):
    code = "endpoint_bad_answer"


class NotFound(BackendError):
    code = "model_not_found"


class Rejected(BackendError):
    """``option`` is the name of the ``LoadOptions`` field at fault, or empty."""

    code = "endpoint_rejected"

    def __init__(self, message: str, *, hint: str = "", status: int | None = None, option: str = "") -> None:
        super().__init__(message, hint=hint, status=status)
        self.option = option


class InvalidName(Rejected):
    code = "invalid_model_name"


class InvalidOption(Rejected):
    code = "invalid_option"


class UnsupportedOption(Rejected):
    code = "unsupported_option"


class UnsupportedCall(Rejected):
    code = "unsupported_call"


class NotAllowed(Rejected):
    code = "not_allowed"


class Busy(BackendError):
    code = "endpoint_busy"
    retryable = True


class OutOfMemory(BackendError):
    code = "out_of_memory"


class ServerFault(BackendError):
    code = "endpoint_fault"
    retryable = True


class LoadFailed(ServerFault):
    code = "load_failed"
    retryable = False
