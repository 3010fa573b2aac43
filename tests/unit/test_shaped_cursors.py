"""The cursors of topics and of files: what they remember, and that they stay small."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError
from streams.ingest.shaped import done as done_module
from streams.ingest.shaped import offsets
from streams.ingest.shaped.done import DoneFiles, FoundFile, Status, read_cursor
from streams.ingest.shaped.offsets import Place, TopicCursor

names = st.text(min_size=1, max_size=8)


def file(name: str, stamp: str = "1", modified: float = 0.0) -> FoundFile:
    return FoundFile(name, stamp, modified, 1)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2**62), st.integers(0, 2**40)), max_size=20),
    st.one_of(st.none(), st.text(max_size=20)),
)
def test_the_cursor_of_a_topic_tells_every_place(moves: list[tuple[int, int, int]], topic_id: str | None) -> None:
    cursor, wanted = TopicCursor("a-1", topic_id, {}), {}
    for partition, offset, time_ms in moves:
        wanted[partition] = Place(offset, time_ms)
        assert cursor.set(partition, wanted[partition]) == cursor.text
    found = offsets.read_cursor(cursor.text)
    assert (found.topic, found.topic_id, found.places) == ("a-1", topic_id, wanted)


def test_the_time_of_a_place() -> None:
    assert Place(1, 1_500).time == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert Place(1).time is None


def test_a_cursor_belongs_to_one_topic() -> None:
    found = offsets.read_cursor(TopicCursor("tweets", "x", {}).text)
    found.check("tweets", "x")
    found.check("tweets", None)
    with pytest.raises(RejectedError, match="one of the topic tweets, and not of toots"):
        found.check("toots", "x")
    with pytest.raises(RejectedError, match="was deleted and made again"):
        found.check("tweets", "y")


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "{}", '{"v":2}'),
        *('{"v":1,"topic":"t","id":null,"next":{"0":[-1,0]}}', '{"v":1,"topic":1,"id":"","next":{}}'),
    ],
)
def test_what_is_no_cursor_of_a_topic(text: str) -> None:
    with pytest.raises(RejectedError, match="cursor"):
        offsets.read_cursor(text)


@pytest.mark.parametrize(
    "text", ["", "5", "{}", '{"v":2}', '{"v":1,"below":"","newest":0,"known":{"a":1}}', '{"v":1,"below":1,"known":{}}']
)
def test_what_is_no_cursor_of_files(text: str) -> None:
    with pytest.raises(RejectedError, match="cursor"):
        read_cursor(text)


@given(st.lists(names, unique=True, max_size=30), st.integers(1, 10), st.data())
def test_files_are_done_once_in_any_order_that_the_window_allows(
    order: list[str], most: int, data: st.DataObject
) -> None:
    """Model: a file is new unless it was finished, or is not behind the files that were forgotten."""
    done, finished = DoneFiles(most=most), set()
    for number, name in enumerate(order):
        status = done.status(file(name, modified=float(number)))
        if status is Status.NEW:
            assert name not in finished
        else:
            assert status is Status.LATE
            assert len(finished) >= most
        done.finish(file(name, modified=float(number)))
        done.end_look()
        finished.add(name)
        assert len(done) <= most
        if data.draw(st.booleans()):
            done = read_cursor(done.text)
            done._most = most
        for one in finished:
            assert done.status(file(one, modified=float(order.index(one)))) is Status.DONE


def test_up_to_the_limit_files_may_come_in_any_order() -> None:
    done = DoneFiles(most=5)
    for name in "ebdac":
        assert done.status(file(name)) is Status.NEW
        done.finish(file(name))
    assert done.below == ""
    done.finish(file("f"))
    assert done.below == "a"
    assert done.status(file("a")) is Status.DONE
    assert done.status(file("aa")) is Status.NEW
    assert done.status(file("A", modified=1.0)) is Status.LATE


def test_every_late_file_of_a_look_is_told_and_each_once() -> None:
    done = DoneFiles(most=1)
    done.finish(file("b"))
    done.finish(file("c"))
    late = [file("A", modified=9.0), file("AA", modified=9.0), file("AB", modified=1.0)]
    for one in late:
        assert done.status(one) is Status.LATE
        done.finish(one)
    done.end_look()
    assert [read_cursor(done.text).status(one) for one in late] == [Status.DONE] * 3


def test_a_file_that_has_changed_is_told_once() -> None:
    done = DoneFiles()
    done.finish(file("a"))
    changed = file("a", "2")
    assert done.status(changed) is Status.CHANGED
    done.finish(changed)
    assert read_cursor(done.text).status(changed) is Status.DONE


def test_the_rows_of_a_file_that_is_being_read_are_in_the_cursor() -> None:
    done = DoneFiles()
    done.finish(file("a"))
    again = read_cursor(done.advance(file('b"\udcff'), 7))
    assert again.part == ('b"\udcff', "1", 7)
    assert again.status(file("a")) is Status.DONE
    again.finish(file('b"\udcff'))
    assert json.loads(again.text) == json.loads(read_cursor(again.text).text)
    assert again.part is None


def test_long_names_do_not_make_the_cursor_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(done_module, "MOST_CHARS", 10_000)
    done = DoneFiles()
    for number in range(100):
        done.finish(file(f"{number:0200}"))
    assert len(done.text) < 15_000
    assert done.status(file(f"{99:0200}")) is Status.DONE
    assert done.status(file(f"{0:0200}")) is Status.DONE
