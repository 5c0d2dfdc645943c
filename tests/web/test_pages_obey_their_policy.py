"""The content security policy forbids inline script and style; so no template has any. And every page has a guard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import URLPattern, get_resolver

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
INLINE = re.compile(r"""<style|<script(?![^>]*\bsrc=)|\sstyle\s*=|\son[a-z]+\s*=\s*["']|javascript:""", re.IGNORECASE)
OPEN_TO_ALL = {"login", "logout"}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_inline_script_or_style(template: Path):
    assert INLINE.findall(template.read_text()) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_trusts_no_text(template: Path):
    assert not re.search(r"\|\s*safe\b|autoescape off|mark_safe", template.read_text())


@pytest.mark.parametrize("address", ["/login/", "/"])
def test_every_answer_carries_the_policy(as_admin, client, address):
    answer = (client if address == "/login/" else as_admin).get(address)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_another_site():
    sources = [*TEMPLATES, *(settings.BASE_DIR / "static").rglob("*.css"), *(settings.BASE_DIR / "static/js").glob("*.js")]
    loading = re.compile(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(["']?(?:https?:)?//|from ["']https?:""")
    assert [path.name for path in sources if loading.search(path.read_text())] == []


def test_every_template_is_used():
    djangos = {"registration/login.html", "403.html", "403_csrf.html", "404.html", "405.html", "500.html", "503.html"}
    sources = [*TEMPLATES, *(settings.BASE_DIR / "models_app").rglob("*.py")]
    texts = {path: path.read_text() for path in sources}
    names = {path: str(path.relative_to(settings.BASE_DIR / "templates")) for path in TEMPLATES}
    used = {name for path, name in names.items() if any(name in text for other, text in texts.items() if other != path)}
    assert set(names.values()) - used - djangos == set()


def web_views() -> list[tuple[str, object]]:
    patterns = _patterns(get_resolver().url_patterns)
    return [(str(row.name), row.callback) for row in patterns if row.callback.__module__.startswith("models_app.web")]


def _patterns(patterns: list[object]) -> list[URLPattern]:
    found: list[URLPattern] = []
    for part in patterns:
        found += [part] if isinstance(part, URLPattern) else _patterns(part.url_patterns)  # type: ignore[attr-defined]
    return found


def test_every_page_checks_a_role():
    unguarded = [name for name, view in web_views() if name not in OPEN_TO_ALL and not hasattr(view, "role_checked")]
    assert unguarded == []


@pytest.mark.parametrize(
    ("address", "title"),
    [("/plans/schedules/new/", "Plans"), ("/load/", "Fleet"), ("/models/hardware/", "Models"), ("/users/new/", "Users")],
)
def test_the_navigation_says_which_page_one_is_under(as_admin, db, address, title):
    current = re.findall(r'aria-current="page">([^<]+)</a>', as_admin.get(address).content.decode())
    assert current == [title]
