"""The browser of the tests: one on the PATH, else Playwright's own, else an error that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.chromium import NoBrowserError, find


def made(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_one_on_the_path_comes_before_playwrights_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own = made(tmp_path / "own")
    assert find(str(own)) == str(own)
    chrome = made(tmp_path / "google-chrome")
    assert find(str(own)) == str(chrome)
    chromium = made(tmp_path / "chromium")
    assert find(str(own)) == str(chromium)


def test_without_a_browser_the_error_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBrowserError, match="apt-get install chromium"):
        find(str(tmp_path / "missing"))
