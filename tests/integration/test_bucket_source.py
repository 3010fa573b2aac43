"""The source of the new objects below a prefix, with a real S3 server."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.s3.client import S3, S3Config
from connectors.s3.reader import FoundObject, ObjectReader, connect_reader
from connectors.sources.events import SkipReason, SourcePost
from connectors.sources.shapes.mapping import FieldMap
from streams.ingest.shaped import done as done_module
from streams.ingest.shaped.bucket import BucketStore, Prefix, parse_prefix
from streams.ingest.shaped.done import FoundFile
from streams.ingest.shaped.new_files import ALL_READ, NewFilesOptions, NewFilesSource
from streams.ingest.shaped.options import Begin, FileShape
from tests.integration.registry_support import BUCKET, DeletingS3
from tests.source_servers.reading import Killed, reading

HERE = Prefix(BUCKET, "posts/")
Sources = Callable[..., NewFilesSource]


@pytest.fixture
def reader(s3_connection: DeletingS3, s3_server: S3Config) -> ObjectReader:
    """One connection for all tests, because creating it costs more CPU time than most of them."""
    return ObjectReader(s3_connection._client, s3_server, s3_connection._transfer)


@pytest.fixture
def source(reader: ObjectReader) -> Sources:
    def make(*, begin: Begin = Begin.EARLIEST, **options: object) -> NewFilesSource:
        store = BucketStore(HERE, reader, **options)  # type: ignore[arg-type]
        shape = FileShape(FieldMap({}), None, None, clean=True)
        return NewFilesSource(
            store, NewFilesOptions(kind="s3", instance="lake", shape=shape, begin=begin, interval_s=0.01)
        )

    return make


def put(s3: S3, name: str, *texts: str) -> None:
    body = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    s3.put(BUCKET, f"posts/{name}", body.encode())


async def test_objects_are_read_in_the_order_of_their_keys_and_new_ones_as_they_come(s3: S3, source: Sources) -> None:
    put(s3, "2026/b.jsonl", "b1", "b2")
    put(s3, "2026/.hidden.jsonl", "hidden")
    put(s3, "2026/", "a folder of the console")
    put(s3, "empty.jsonl")
    s3.put(BUCKET, "posts/2026/a.csv.gz", gzip.compress(b"id,text\n7,a1\n"))
    s3.put(BUCKET, "elsewhere/x.jsonl", b'{"text": "elsewhere"}')
    async with reading(source()) as found:
        await found.detail(ALL_READ)
        put(s3, "1999.jsonl", "an early key")
        await found.texts("an early key")
    assert found.post_texts == ["a1", "b1", "b2", "an early key"]
    assert [post.id for post in found.posts[:2]] == ["lake:7", "lake:2026/b.jsonl-1"]
    assert found.gaps == []
    for index, one in enumerate(found.events[:-1]):
        async with reading(source(), one.cursor) as again:
            await again.detail(ALL_READ)
        rest = [other.event.text for other in found.events[index + 1 :] if isinstance(other.event, SourcePost)]
        assert sorted(again.post_texts) == sorted(rest)


async def test_twenty_kills_lose_no_row_and_what_is_repeated_has_its_id(s3: S3, source: Sources) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    killed, wanted = Killed(seed), set[str]()
    for life in range(20):
        name = killed.random.choice("abcdef")
        texts = [f"{name}{life}-{number}" for number in range(5)]
        put(s3, f"{name}{life}.jsonl", *texts)
        wanted |= set(texts)
        await killed.life(source(), 30, idle=ALL_READ)
    await killed.life(source(), 10**6, idle=ALL_READ)
    assert {post.text for post in killed.posts} == wanted
    assert len({post.id for post in killed.posts}) == len(wanted)
    assert killed.gaps == []


async def test_listings_have_pages(s3: S3, source: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ObjectReader.page
    calls: list[str] = []

    def small(reader: ObjectReader, bucket: str, prefix: str, after: str) -> object:
        calls.append(after)
        return page(reader, bucket, prefix, after, most=2)

    monkeypatch.setattr(ObjectReader, "page", small)
    for number in range(5):
        put(s3, f"{number}.jsonl", f"post {number}")
    async with reading(source()) as found:
        await found.texts("post 4")
    assert found.post_texts == [f"post {number}" for number in range(5)]
    assert calls[:3] == ["", "posts/1.jsonl", "posts/3.jsonl"]
    async with reading(source(begin=Begin.LATEST)) as found:
        await found.detail("connected")
        put(s3, "0a.jsonl", "new")
        await found.texts("new")
    assert found.post_texts == ["new"]


async def test_a_listing_begins_behind_what_is_forgotten_and_once_an_hour_with_the_first_key(
    s3: S3, source: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(done_module, "MOST_CHARS", 100)
    made = BucketStore._file

    def file_of(store: BucketStore, found: FoundObject) -> FoundFile:
        # The server's times have a resolution of a second.
        file = made(store, found)
        return replace(file, modified=file.modified + 10) if file.name == "0a.jsonl" else file

    monkeypatch.setattr(BucketStore, "_file", file_of)
    now = 0.0
    for number in range(5):
        put(s3, f"{number}.jsonl", f"post {number}")
    async with reading(source(clock=lambda: now)) as found:
        await found.texts("post 4")
        await found.detail(ALL_READ)
        put(s3, "0a.jsonl", "too late")
        await found.detail(ALL_READ, 4)
        assert found.gaps == []
        now = 3_601.0
        await found.until(lambda: len(found.gaps) == 1)
    assert "0a.jsonl came or changed after" in found.gaps[0].reason
    assert found.post_texts == [f"post {number}" for number in range(5)]


async def test_an_object_that_changes_is_a_gap(s3: S3, source: Sources) -> None:
    put(s3, "a.jsonl", "one", "two")
    async with reading(source()) as found:
        await found.texts("two")
        await found.detail(ALL_READ)
        put(s3, "a.jsonl", "one", "two", "three")
        await found.until(lambda: len(found.gaps) == 1)
    assert found.gaps[0].reason == "a.jsonl has changed after it was read, and is not read again"
    middle = next(one.cursor for one in found.events if isinstance(one.event, SourcePost))
    async with reading(source(), middle) as again:
        await again.detail(ALL_READ)
    assert (again.post_texts, len(again.gaps)) == ([], 1)


async def test_an_object_that_is_too_large_or_may_not_be_read(
    s3: S3, source: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "a.jsonl", "x" * 1_000)
    put(s3, "b.jsonl", "closed")
    put(s3, "c.jsonl", "open")
    fetch = ObjectReader.fetch

    def refused(reader: ObjectReader, bucket: str, key: str, etag: str, file: Path, **options: Any) -> bool:
        if key.endswith("b.jsonl"):
            raise RejectedError("refused (AccessDenied, HTTP 403)")
        return fetch(reader, bucket, key, etag, file, **options)

    monkeypatch.setattr(ObjectReader, "fetch", refused)
    async with reading(source(max_bytes=500)) as found:
        await found.texts("open")
        await found.detail(ALL_READ, 2)
        assert found.reasons(SkipReason.UNREADABLE) == [
            "b.jsonl cannot be opened: refused (AccessDenied, HTTP 403); it is read when that is allowed"
        ]
        monkeypatch.setattr(ObjectReader, "fetch", fetch)
        await found.texts("closed")
    (gap,) = found.gaps
    assert gap.reason.startswith("a.jsonl has 1,0")
    assert "500 are allowed" in gap.reason


def test_an_object_is_fetched_only_with_the_content_that_was_listed(
    s3: S3, reader: ObjectReader, tmp_path: Path
) -> None:
    put(s3, "a.jsonl", "one")
    ((found,), more) = reader.page(BUCKET, "posts/", "")
    assert (found, more) == (reader.find(BUCKET, "posts/a.jsonl"), False)
    assert reader.fetch(BUCKET, found.key, found.etag, tmp_path / "a")
    put(s3, "a.jsonl", "two")
    assert not reader.fetch(BUCKET, found.key, found.etag, tmp_path / "b")
    with pytest.raises(UnavailableError, match="was stopped"):
        reader.fetch(BUCKET, found.key, str(reader.find(BUCKET, found.key).etag), tmp_path / "b", stopped=lambda: True)  # type: ignore[union-attr]
    assert reader.find(BUCKET, "posts/x") is None
    assert not reader.fetch(BUCKET, "posts/x", found.etag, tmp_path / "c")


async def test_a_server_that_does_not_answer_and_a_bucket_that_does_not_exist(no_buckets: S3, source: Sources) -> None:
    async with reading(source()) as found:
        assert isinstance(await found.error(), RejectedError)
    with (
        connect_reader(S3Config("http://127.0.0.1:1", "us-east-1", "key", "secret")) as nobody,
        pytest.raises(UnavailableError),
    ):
        BucketStore(HERE, nobody).page("")


def test_addresses() -> None:
    assert parse_prefix("s3://bucket/a/b/") == ("bucket", "a/b/")
    assert parse_prefix("s3://bucket") == ("bucket", "")
    assert parse_prefix("s3://bucket/") == ("bucket", "")
