"""The source of the new files of a folder, with real files."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.errors import UnavailableError
from connectors.s3.reader import ObjectReader
from connectors.sources.events import SkipReason, SourcePost
from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import SHAPES
from streams.errors import InputError
from streams.ingest.rows import Row
from streams.ingest.shaped import bucket as bucket_module
from streams.ingest.shaped import done as done_module
from streams.ingest.shaped import folder as folder_module
from streams.ingest.shaped import new_files as new_files_module
from streams.ingest.shaped.bucket import BucketStore, Prefix
from streams.ingest.shaped.done import FoundFile
from streams.ingest.shaped.file_rows import event_of
from streams.ingest.shaped.folder import FolderStore, checked_pattern
from streams.ingest.shaped.new_files import ALL_READ, NewFilesOptions, NewFilesSource
from streams.ingest.shaped.options import Begin, FileShape
from tests.source_servers.reading import Killed, reading

PLAIN = FileShape(FieldMap({}), None, None, clean=True)


def source(
    folder: Path, *, shape: FileShape = PLAIN, begin: Begin = Begin.EARLIEST, **options: object
) -> NewFilesSource:
    store = FolderStore(folder, **{"settle_s": 0.0, **options})  # type: ignore[arg-type]
    return NewFilesSource(
        store, NewFilesOptions(kind="files", instance="inbox", shape=shape, begin=begin, interval_s=0.01)
    )


def put(file: Path, *texts: str, **fields: object) -> None:
    """Write posts as JSON lines in one step, as a careful writer does."""
    temporary = file.with_name(f"{file.name}.tmp")
    temporary.write_text("".join(json.dumps({"text": text, **fields}) + "\n" for text in texts), "utf-8")
    temporary.rename(file)


async def test_files_are_read_in_the_order_of_their_names_and_new_ones_as_they_come(tmp_path: Path) -> None:
    put(tmp_path / "b.jsonl", "b1", "b2")
    (tmp_path / "a.csv").write_text("id;text\n7;a1\n8;a2\n", "utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"c1\nc2\n"))
    async with reading(source(tmp_path)) as found:
        await found.detail(ALL_READ)
        put(tmp_path / "0.jsonl", "late, with an early name")
        (tmp_path / ".hidden.txt").write_text("hidden")
        (tmp_path / "x.part").write_text("not yet")
        await found.texts("late, with an early name")
        put(tmp_path / "d.jsonl", "d1", created_at="2026-03-01T12:00:00Z", author="ada", keywords=["tea"])
        await found.texts("d1")
    assert found.post_texts == ["a1", "a2", "b1", "b2", "c1", "c2", "late, with an early name", "d1"]
    assert [post.id for post in found.posts[:4]] == ["inbox:7", "inbox:8", "inbox:b.jsonl-1", "inbox:b.jsonl-2"]
    written = datetime.fromtimestamp((tmp_path / "a.csv").stat().st_mtime, UTC)
    assert found.posts[0].created_at == written
    last = found.posts[-1]
    assert (last.created_at, last.author, last.keywords) == (datetime(2026, 3, 1, 12, tzinfo=UTC), "ada", ("tea",))
    assert found.gaps == []


async def test_a_restart_from_any_cursor_yields_exactly_the_rest(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        lines = [json.dumps({"text": f"{name}{number}"}) for number in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join([*lines[:2], "not JSON", *lines[2:]]))
    async with reading(source(tmp_path)) as first:
        await first.detail(ALL_READ)
    events = [one.event for one in first.events]
    for index, one in enumerate(first.events):
        async with reading(source(tmp_path), one.cursor) as second:
            await second.detail(ALL_READ)
        rest = [event for event in events[index + 1 :] if isinstance(event, SourcePost)]
        assert second.posts == rest
        refused = [event for event in events[index + 1 :] if getattr(event, "reason", "") is SkipReason.UNREADABLE]
        assert len(second.reasons(SkipReason.UNREADABLE)) == len(refused)
        assert second.gaps == []


async def test_twenty_kills_lose_no_row_and_what_is_repeated_has_its_id(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    killed, wanted = Killed(seed), set[str]()
    for life in range(20):
        name = killed.random.choice("abcdef")
        texts = [f"{name}{life}-{number}" for number in range(5)]
        put(tmp_path / f"{name}{life}.jsonl", *texts)
        wanted |= set(texts)
        await killed.life(source(tmp_path), 30, idle=ALL_READ)
    await killed.life(source(tmp_path), 10**6, idle=ALL_READ)
    assert {post.text for post in killed.posts} == wanted
    assert len({post.id for post in killed.posts}) == len(wanted)
    assert killed.gaps == []


async def test_without_a_position_it_begins_with_the_files_that_come(tmp_path: Path) -> None:
    put(tmp_path / "old.jsonl", "old")
    os.utime(tmp_path / "old.jsonl", (1_000, 1_000))
    put(tmp_path / "fresh.jsonl", "fresh")
    just_now = (tmp_path / "fresh.jsonl").stat().st_mtime + 0.01
    opened = source(tmp_path, begin=Begin.LATEST, settle_s=0.05, wall_clock=lambda: just_now)
    async with reading(opened) as found:
        await found.detail(ALL_READ)
        put(tmp_path / "new.jsonl", "new")
        # The file that was written just now may not have been complete.
        await found.texts("new", "fresh")
    assert sorted(found.post_texts) == ["fresh", "new"]


def test_a_file_is_complete_when_it_has_not_changed_for_a_while(tmp_path: Path) -> None:
    now = 100.0
    store = FolderStore(tmp_path, settle_s=5.0, clock=lambda: now)

    def names() -> list[str]:
        return [file.name for file in store.page("").files]

    growing = tmp_path / "growing.txt"
    growing.write_text("a")
    assert names() == []
    now = 104.0
    growing.write_text("ab")
    assert names() == []
    now = 108.9
    assert names() == []
    now = 109.0
    assert names() == ["growing.txt"]


async def test_a_file_that_changes_after_it_was_read_is_told_once_and_not_read_again(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", "one")
    async with reading(source(tmp_path)) as found:
        await found.texts("one")
        await found.detail(ALL_READ)
        put(tmp_path / "a.jsonl", "one", "two")
        await found.until(lambda: len(found.gaps) == 1)
        await found.detail(ALL_READ, 4)
    assert (found.post_texts, len(found.gaps)) == (["one"], 1)
    assert found.gaps[0].reason == "a.jsonl has changed after it was read, and is not read again"
    async with reading(source(tmp_path), found.cursor) as again:
        await again.detail(ALL_READ)
    assert (again.posts, again.gaps) == ([], [])


@pytest.mark.parametrize(
    ("change", "what"),
    [(lambda file: put(file, "other", "rows", "here"), "has changed"), (lambda file: file.unlink(), "was removed")],
    ids=["changed", "removed"],
)
async def test_a_file_that_changes_before_its_end_is_a_gap(
    tmp_path: Path, change: Callable[[Path], None], what: str
) -> None:
    put(tmp_path / "a.jsonl", "one", "two", "three")
    async with reading(source(tmp_path)) as found:
        await found.texts("three")
    cursor = next(one.cursor for one in found.events if isinstance(one.event, SourcePost))
    change(tmp_path / "a.jsonl")
    put(tmp_path / "b.jsonl", "next")
    async with reading(source(tmp_path), cursor) as again:
        await again.texts("next")
        await again.detail(ALL_READ)
    assert again.post_texts == ["next"]
    assert [gap.reason for gap in again.gaps] == [f"a.jsonl {what} before it was read to its end; rows read: 1"]


async def test_a_file_that_changes_while_it_is_read_is_a_gap(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", "one", "two")
    opened = source(tmp_path)
    store = opened._store
    find = store.find

    calls = 0

    def changing(name: str) -> FoundFile | None:
        nonlocal calls
        calls += 1
        if calls == 3:  # the first two are of the look for files, and of opening it
            put(tmp_path / "a.jsonl", "one", "two", "three")
        return find(name)

    store.find = changing  # type: ignore[method-assign]
    async with reading(opened) as found:
        await found.until(lambda: len(found.gaps) == 1)
        await found.detail(ALL_READ, 3)
    assert found.post_texts == ["one", "two"]
    assert len(found.gaps) == 1
    assert "has changed" in found.gaps[0].reason


async def test_what_cannot_be_read_is_told_and_the_next_files_follow(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,age\nada,36\n")
    (tmp_path / "b.json").write_text('[{"text": "b1"}, {"text": "b2"')
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"{}")[:-4])
    (tmp_path / "d.bin").write_bytes(b"\0\1")
    (tmp_path / "e.jsonl").write_text("")
    (tmp_path / "f.jsonl").write_text('{"text": "f\\u0000"}\n{"text": " "}\n{"id": 1}\n')
    async with reading(source(tmp_path)) as found:
        await found.detail(ALL_READ, 2)
    assert found.post_texts == ["b1", "f�"]
    assert found.posts[-1].cleaned
    first, second, third, fourth = (gap.reason for gap in found.gaps)
    assert "a.csv has no column 'text'" in first
    assert "b.json is not valid JSON after element 1" in second
    assert second.endswith("; rows read: 1")
    assert "c.gz" in third
    assert "d.bin: the suffix does not tell the format" in fourth
    assert str(tmp_path) not in "".join(gap.reason for gap in found.gaps)
    assert found.reasons(SkipReason.EMPTY_TEXT) == ["f.jsonl, line 2: the text is empty"]
    assert found.reasons(SkipReason.UNREADABLE) == ["f.jsonl, line 3: there is no text"]


async def test_a_shape_a_mapping_and_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    toot = {"id": "1", "content": "<p>tea &amp; cake</p>", "created_at": "2026-03-01T12:00:00Z", "account": {}}
    (tmp_path / "deep" / "toots.log").write_text(json.dumps(toot))
    shape = replace(PLAIN, shape=SHAPES["mastodon"])
    async with reading(source(tmp_path, shape=shape, pattern="**/*.log")) as found:
        await found.texts("tea & cake")
    assert found.posts[0].id == "inbox:1"
    (tmp_path / "m.csv").write_text("Tweet|When\nhello|2026-03-01T12:00:00\n")
    mapped = replace(
        PLAIN,
        mapping=FieldMap.parse({"text": "Tweet", "created_at": "When"}),
        zone=UTC,
        delimiter="|",
    )
    async with reading(source(tmp_path, shape=mapped, pattern="*.csv")) as found:
        await found.texts("hello")
    assert found.posts[0].created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_a_file_that_may_not_be_read_is_read_when_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a.jsonl", "secret")
    put(tmp_path / "b.jsonl", "open")
    allowed = False
    monkeypatch.setattr(folder_module.os, "access", lambda path, _: allowed or path.name != "a.jsonl")
    async with reading(source(tmp_path)) as found:
        await found.texts("open")
        await found.detail(ALL_READ, 3)
        assert found.reasons(SkipReason.UNREADABLE) == [
            "a.jsonl cannot be opened: it may not be read; it is read when that is allowed"
        ]
        allowed = True
        await found.texts("secret")


async def test_a_folder_that_is_gone_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    async with reading(source(folder)) as found:
        await found.detail(ALL_READ)
        folder.rmdir()
        assert isinstance(await found.error(), UnavailableError)


async def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    put(tmp_path / os.fsdecode(b"\xff.jsonl"), "odd")
    async with reading(source(tmp_path)) as found:
        await found.detail(ALL_READ)
    assert [post.id for post in found.posts] == ["inbox:\\xff.jsonl-1"]


@pytest.mark.parametrize("pattern", ["", ".", "/etc/*", "../*", "a/../../*", "**.csv", "a/b**"])
def test_patterns_that_cannot_be_used(pattern: str) -> None:
    with pytest.raises(InputError, match="is not a pattern"):
        checked_pattern(pattern)


async def test_files_with_names_before_those_that_were_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(done_module, "MOST_CHARS", 60)
    for number in range(5):
        put(tmp_path / f"file-{number}.jsonl", f"post {number}")
        os.utime(tmp_path / f"file-{number}.jsonl", (time.time() - 100,) * 2)
    late = tmp_path / ".late"  # not read before it is renamed, so that one look finds all of its files
    late.mkdir()
    for name, age_s in (("1", 5), ("2", 5), ("3", 9)):
        put(late / f"{name}.jsonl", "late")
        os.utime(late / f"{name}.jsonl", (int(time.time()) - age_s,) * 2)
    async with reading(source(tmp_path, pattern="**/*.jsonl")) as found:
        await found.detail(ALL_READ)
        late.rename(tmp_path / "a")
        await found.until(lambda: len(found.gaps) == 3)
        looks = len(found.reasons(SkipReason.NOT_A_POST))
        await found.until(lambda: len(found.reasons(SkipReason.NOT_A_POST)) > looks + 3)
    assert Counter(found.post_texts) == Counter(f"post {number}" for number in range(5))
    first, second, third = (gap.reason for gap in found.gaps)
    assert "a/1.jsonl came or changed after" in first
    assert "a/2.jsonl" in second
    assert "a/3.jsonl" in third


async def test_a_long_way_to_the_next_row_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.jsonl", *(f"post {number}" for number in range(10)))
    async with reading(source(tmp_path)) as first:
        await first.texts("post 9")
    cursor = [one.cursor for one in first.events if isinstance(one.event, SourcePost)][7]
    monkeypatch.setattr(new_files_module, "_BATCH", 2)
    monkeypatch.setattr(new_files_module, "_ALIVE_S", 0.0)
    async with reading(source(tmp_path), cursor) as found:
        await found.texts("post 9")
    assert found.reasons(SkipReason.NOT_A_POST)[1:5] == ["a.jsonl: passing over rows that were read before"] * 4
    assert {one.cursor for one in found.events[:5]} == {cursor}
    assert found.post_texts == ["post 8", "post 9"]


def test_a_file_with_an_impossible_time() -> None:
    file = FoundFile("a.jsonl", "1", 1e18, 1)
    event = event_of(Row(1, "tea"), file, "inbox", datetime(2026, 3, 1, tzinfo=UTC))
    assert isinstance(event, SourcePost)
    assert event.created_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_full_disk_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bucket_module.tempfile, "TemporaryDirectory", full)
    store = BucketStore(Prefix("lake", "posts/"), ObjectReader.__new__(ObjectReader))
    with pytest.raises(UnavailableError, match=r"a\.jsonl cannot be stored in a temporary folder: No space left"):
        store.local(FoundFile("a.jsonl", "1", 0.0, 1)).__enter__()
