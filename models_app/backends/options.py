"""The checks that every load passes before anything is sent."""

from __future__ import annotations

from models_app.backends.errors import InvalidOption, UnsupportedOption
from models_app.backends.protocol import LoadOptions

# The least value that makes sense; a GPU layer count of 0 means the CPU, -1 the backend's choice.
_LEAST = {"context_length": 1, "parallel": 1, "gpu_layers": -1, "batch": 1}
_MOST = 2**31 - 1


def check_options(options: LoadOptions, honoured: frozenset[str]) -> None:
    """Raises ``UnsupportedOption`` for a given option that is not honoured, ``InvalidOption`` for a senseless value."""
    for name, value in options.given().items():
        if name not in honoured:
            raise UnsupportedOption(f"This endpoint cannot honour the option {name} when it loads a model.", option=name)
        least = _LEAST.get(name)
        if least is not None and not least <= value <= _MOST:
            raise InvalidOption(f"{name} is {value}, but at least {least} and at most {_MOST}.", option=name)
    check_keep_alive(options.keep_alive_seconds)


def check_keep_alive(seconds: int | None) -> None:
    """Raises ``InvalidOption`` for 0, which would unload at once, and for more seconds than servers can count."""
    if seconds is not None and (seconds == 0 or abs(seconds) > _MOST):
        raise InvalidOption(
            f"A keep-alive of {seconds} seconds is not possible.",
            hint="Give a number of seconds, or a negative one for ever. To free the memory now, unload the model.",
            option="keep_alive_seconds",
        )
