"""Which names of a folder the source of files takes for files."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import RejectedError
from streams.ingest.shaped import folder as folder_module
from streams.ingest.shaped.folder import FolderStore


def write(file: Path) -> None:
    file.write_text('{"text": "x"}\n', "utf-8")


def test_a_link_to_itself_keeps_no_other_file_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "nowhere.jsonl").symlink_to("missing")
    write(tmp_path / "a.jsonl")
    assert [file.name for file in FolderStore(tmp_path, settle_s=0.0).page("").files] == ["a.jsonl"]


def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "inbox"
    (folder / "in").mkdir(parents=True)
    write(tmp_path / "secret.jsonl")
    write(folder / "in" / "a.jsonl")
    (folder / "file.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (folder / "out").symlink_to(tmp_path)
    (folder / "link.jsonl").symlink_to("in/a.jsonl")
    for pattern, found in (("*", ["link.jsonl"]), ("*/*.jsonl", ["in/a.jsonl"])):
        assert [file.name for file in FolderStore(folder, pattern=pattern, settle_s=0.0).page("").files] == found
    assert caplog.messages == [
        f"{name} is not read: it is a link that leads out of {folder}" for name in ("file.jsonl", "out/secret.jsonl")
    ]


def test_a_folder_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MOST_FILES_OF_A_FOLDER", 2)
    for name in "abc":
        write(tmp_path / f"{name}.jsonl")
    with pytest.raises(RejectedError, match="more than 2 files"):
        FolderStore(tmp_path).page("")
