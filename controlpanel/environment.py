"""Typed access to the environment. Every variable that Berth reads is declared here once, with its default and meaning."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, slots=True)
class Variable:
    """One declared environment variable, as the README's configuration table lists it."""

    name: str
    default: str
    meaning: str


DECLARED: dict[str, Variable] = {}


def text(name: str, default: str, meaning: str) -> str:
    """The variable as text, or its default."""
    DECLARED[name] = Variable(name, default, meaning)
    return os.environ.get(name, default)


def words(name: str, default: str, meaning: str) -> list[str]:
    """A comma-separated list, without empty items."""
    return [word.strip() for word in text(name, default, meaning).split(",") if word.strip()]


def one_of(name: str, default: str, meaning: str, *, among: tuple[str, ...]) -> str:
    """One word of a few, in capitals. Raises ImproperlyConfigured for any other."""
    word = text(name, default, meaning).strip().upper()
    if word not in among:
        raise ImproperlyConfigured(f"{name} is {word!r}; it must be one of {', '.join(among)}.")
    return word


def web_address(name: str, default: str, meaning: str) -> str:
    """An address of http or https that names a host, or nothing. Raises ImproperlyConfigured for anything else."""
    address = text(name, default, meaning).strip()
    if address and not re.match(r"https?://[^/\s]+(/\S*)?$", address):
        raise ImproperlyConfigured(f"{name} is {address!r}; write an address such as https://berth.example.")
    return address


def host_names(name: str, default: str, meaning: str) -> list[str]:
    """A comma-separated list of host names. Raises ImproperlyConfigured for what no browser sends as one."""
    names = words(name, default, meaning)
    for given in names:
        if not re.match(r"(\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9a-fA-F:.]+\])$", given):
            raise ImproperlyConfigured(
                f"{name}: {given!r} is no host name; write names such as berth.example, without a port."
            )
    return names


def networks(name: str, default: str, meaning: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """A comma-separated list of networks or addresses. Raises ImproperlyConfigured for anything else."""
    try:
        return [ipaddress.ip_network(word) for word in words(name, default, meaning)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}; write networks such as 127.0.0.0/8.") from None


def ports(name: str, default: str, meaning: str) -> tuple[tuple[int, int], ...]:
    """A comma-separated list of ports and ranges of ports, each as its first and last. Raises ImproperlyConfigured."""
    return tuple(_port_range(name, word) for word in words(name, default, meaning))


def _port_range(name: str, word: str) -> tuple[int, int]:
    low, dash, high = word.partition("-")
    try:
        first, last = int(low), int(high if dash else low)
    except ValueError:
        raise ImproperlyConfigured(f"{name}: {word!r} is no port; write ports such as 443 or 1024-65535.") from None
    if not 0 < first <= last <= 65_535:
        raise ImproperlyConfigured(f"{name}: {word!r} must lie between 1 and 65535, the lower port first.")
    return first, last


def flag(name: str, default: bool, meaning: str) -> bool:
    """``1``, ``true``, ``yes`` or ``on`` for true; ``0``, ``false``, ``no``, ``off`` or nothing for false.

    Raises ImproperlyConfigured for anything else: a typing error must not switch a safety off.
    """
    value = text(name, "1" if default else "0", meaning).strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"", "0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; it must be 1 or 0.")


def whole(name: str, default: int, meaning: str, *, least: int = 0, most: int = 1_000_000) -> int:
    """A whole number from ``least`` to ``most``. Raises ImproperlyConfigured otherwise."""
    value = text(name, str(default), meaning)
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a whole number.") from None
    if number < least:
        raise ImproperlyConfigured(f"{name} is {number}; the least is {least}.")
    if number > most:
        raise ImproperlyConfigured(f"{name} is {number}; the most is {most}.")
    return number


def fraction(name: str, default: float, meaning: str) -> float:
    """A number from 0 to 1. Raises ImproperlyConfigured otherwise."""
    value = text(name, str(default), meaning)
    try:
        number = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a number from 0 to 1.") from None
    if not 0 <= number <= 1:
        raise ImproperlyConfigured(f"{name} is {number}; it must be from 0 to 1.")
    return number


def seconds(name: str, default: float, meaning: str) -> float:
    """A positive duration in seconds. Raises ImproperlyConfigured otherwise."""
    value = text(name, f"{default:g}", meaning)
    try:
        number = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a number of seconds.") from None
    if not 0 < number < 1e7:
        raise ImproperlyConfigured(f"{name} is {number}; it must be a positive number of seconds.")
    return number
