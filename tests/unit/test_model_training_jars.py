"""A truncated download is fetched again, and a file with another SHA-256 is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.training.errors import TrainingError
from models.training.jars import known_file

CONTENT = b"the whole jar"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Repository:
    """Keeps a file, and downloads it if there is none."""

    def __init__(self, file: Path, served: bytes = CONTENT) -> None:
        self._file = file
        self._served = served
        self.downloads = 0

    def locate(self) -> Path:
        if not self._file.exists():
            self.downloads += 1
            self._file.write_bytes(self._served)
        return self._file


def test_a_kept_file_is_not_downloaded_again(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "jar")
    for _ in range(2):
        assert known_file(repository.locate, SHA256, "jar").read_bytes() == CONTENT
    assert repository.downloads == 1


def test_a_truncated_download_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "jar").write_bytes(CONTENT[:5])
    repository = Repository(tmp_path / "jar")
    assert known_file(repository.locate, SHA256, "jar").read_bytes() == CONTENT
    assert repository.downloads == 1


def test_another_file_is_refused_after_one_more_download(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "jar", b"another one")
    with pytest.raises(
        TrainingError, match=r"jar is not encoder:1: its SHA-256 is [0-9a-f]{12}… instead of [0-9a-f]{12}…"
    ):
        known_file(repository.locate, SHA256, "encoder:1")
    assert repository.downloads == 2
