"""The difference of two renderings of one fragment, as texts and attributes to set.

A page holds what its fragments' text says, node by node. So a text or an attribute has the same place there as here: the
number of its text node or its element in the fragment, in the order of the document. Where more than texts and attributes
differ, or an attribute that means more than what is seen, the fragment is replaced as a whole. Which of both it is, is
found by comparing, so that a template says everything once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import unescape
from typing import TypedDict

_TOKEN = re.compile(r"""<(?:[^"'>]|"[^"]*"|'[^']*')*>|[^<]+""")
_NO_TOKEN = re.compile(r"<(?![A-Za-z/])|[\r\0]")
"""What a browser reads otherwise than this does: a bare ``<`` is text to it, and a comment is no element."""
_ATTRIBUTE = re.compile(r"""([^\s=/]+)(?:="([^"]*)")?""")
_KEPT_BY_THE_READER = {"input", "select", "option", "textarea", "details", "dialog"}
"""What a reader has typed, chosen or opened is not what the attributes of these say."""
_ACTS = ("hx-", "on", "style", "id")
"""Attributes that are read when an element appears, or that the policy keeps scripts from setting."""
REMEMBERED = 512


class Patch(TypedDict):
    """``size`` is how many elements and text nodes the page's fragment must have for the places to be right."""

    size: tuple[int, int]
    texts: list[tuple[int, str]]
    attributes: list[tuple[int, str, str]]


def patch(before: str, after: str) -> Patch | None:
    """What makes ``before`` into ``after``; ``None`` where that takes more than texts and attributes."""
    old, new = _tokens(before), _tokens(after)
    if len(old) != len(new) or _NO_TOKEN.search(after):
        return None
    texts: list[tuple[int, str]] = []
    attributes: list[tuple[int, str, str]] = []
    element = text = 0
    for was, now in zip(old, new, strict=True):
        is_text = now[0] != "<"
        if was != now:
            if _kind(was) != _kind(now):
                return None
            if is_text:
                texts.append((text, unescape(now)))
            elif (changed := _changed_attributes(was, now)) is not None:
                attributes += [(element, name, value) for name, value in changed]
            else:
                return None
        if is_text:
            text += 1
        elif now[1] != "/":
            element += 1
    return {"size": (element, text), "texts": texts, "attributes": attributes}


@lru_cache(REMEMBERED)
def _tokens(html: str) -> list[str]:
    """Tags and the texts between them; what surrounds the fragment's element is no part of it."""
    return _TOKEN.findall(html.strip())


def _kind(token: str) -> tuple[bool, bool]:
    """Whether it is a tag, and whether that ends an element."""
    return token[0] == "<", token[:2] == "</"


def _changed_attributes(was: str, now: str) -> list[tuple[str, str]] | None:
    """Of two tags the attributes with their new values; ``None`` for other elements or other attributes."""
    (name, *old), (other, *new) = _ATTRIBUTE.findall(was[1:-1]), _ATTRIBUTE.findall(now[1:-1])
    if name != other or name[0] in _KEPT_BY_THE_READER or [key for key, _ in old] != [key for key, _ in new]:
        return None
    changed = [(key, unescape(value)) for (key, value), before in zip(new, old, strict=True) if (key, value) != before]
    return None if any(key.startswith(_ACTS) for key, _ in changed) else changed
