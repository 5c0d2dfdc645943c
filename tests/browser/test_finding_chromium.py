"""A machine without Chromium is told what to install, instead of having its browser tests skipped."""

from __future__ import annotations

import pytest

from tests.fixtures.browser import chromium_path


def test_a_missing_chromium_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(pytest.fail.Exception, match=r"no Chromium at /nowhere/chromium: .*apt-get install chromium"):
        chromium_path()
