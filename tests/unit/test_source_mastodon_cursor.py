"""The cursor of the source of Mastodon, and from where a timeline is read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.errors import RejectedError
from connectors.sources.mastodon.heads import before, id_time, newest, read_cursor, resume_from, write_cursor
from tests.source_servers.mastodon import START, MastodonServer
from tests.source_servers.mastodon_reading import source
from tests.source_servers.reading import reading


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"v":2,"server":"127.0.0.1","at":1,"heads":{}}',
        '{"v":1,"server":"other","at":1,"heads":{}}',
        '{"v":1,"server":"127.0.0.1","at":1,"heads":{"public":7}}',
        '{"v":1,"server":"127.0.0.1","at":1,"heads":7}',
        '{"v":1,"server":"127.0.0.1","at":1,"heads":[]}',
    ],
)
async def test_a_wrong_cursor_is_rejected(cursor: str) -> None:
    async with MastodonServer() as server, reading(source(server), cursor) as found:
        assert isinstance(await found.error(), RejectedError)


def test_ids_are_ordered_by_length_first() -> None:
    assert newest(["99", "100", "0"]) == "100"
    assert newest([]) == "0"


def test_an_id_has_its_time() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    number = str((int(at.timestamp() * 1_000) << 16) + 7)
    assert id_time(number) == at
    assert id_time(before(number, timedelta(minutes=5))) == at - timedelta(minutes=5)
    assert [id_time("12"), id_time("01HXYZ"), id_time("9" * 21)] == [None, None, None]
    assert before("01HXYZ", timedelta(minutes=5)) == "01HXYZ"


def test_a_cursor_is_read_as_it_was_written() -> None:
    heads = {"public": "7", "#cats": "8"}
    cursor = write_cursor("m.example", heads, START)
    assert read_cursor(cursor, "m.example", ["#cats", "#new"]) == ({"#cats": "8"}, START)


def test_a_quiet_timeline_is_not_read_again() -> None:
    head, minute = number_at(START), timedelta(minutes=1)
    assert id_time(resume_from(head, START + timedelta(hours=3), minute)) == START
    assert id_time(resume_from(head, START + timedelta(seconds=40), minute)) == START - timedelta(seconds=20)
    assert id_time(resume_from(head, START, minute)) == START - minute
    assert id_time(resume_from(head, START - timedelta(hours=3), minute)) == START - minute
    assert resume_from("01HXYZ", START, minute) == "01HXYZ"
    assert resume_from("0", START, minute) == "0"


def number_at(at: datetime) -> str:
    return str(int(at.timestamp() * 1_000) << 16)
