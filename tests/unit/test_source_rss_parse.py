"""Documents of feeds -> entries."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import feedparser
import pytest

from connectors.sources.rss.parse import MAX_ENTRIES, Entry, NotAFeedError, parse_feed
from connectors.sources.rss.schedule import Schedule, server_hint_s
from tests.source_servers.feeds import item, rss

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entries(body: bytes, kind: str = "application/xml") -> tuple[Entry, ...]:
    return parse_feed(body, {"content-type": kind}, "https://example.org/feed").entries


def test_an_entry_of_rss() -> None:
    text = "<p>Tea &amp; <b>cake</b></p><script>no()</script>"
    tags = "<category>Food</category><category>#tea</category><author>a@b.example (Ann)</author>"
    body = rss([item("A &amp; B", guid="tag:x,1", link="https://example.org/1", date=NOON, text=text)])
    body = body.replace(b"</item>", tags.encode() + b"</item>")
    (entry,) = entries(body)
    assert entry.text == "A & B\nTea & cake"
    assert (entry.guid, entry.url, entry.published) == ("tag:x,1", "https://example.org/1", NOON)
    assert (entry.lang, entry.tags, entry.author) == ("en-us", ("Food", "tea"), "a@b.example (Ann)")


def test_an_entry_of_atom() -> None:
    body = b"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom" xml:lang="de"><title>F</title><entry>
    <title type="html">&lt;b&gt;Tee&lt;/b&gt; &amp;amp; Kuchen</title><id>urn:1</id><link href="/1"/>
    <updated>2026-03-01T13:00:00+01:00</updated><author><name>Ann</name></author>
    <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>eins</p><p>zwei</p></div></content></entry></feed>"""
    (entry,) = entries(body)
    assert entry.text == "Tee & Kuchen\neins\n\nzwei"
    assert (entry.guid, entry.url, entry.published, entry.author) == ("urn:1", "https://example.org/1", NOON, "Ann")
    assert entry.lang == "de"


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Sun, 01 Mar 2026 12:00:00 GMT", NOON),
        ("Sun, 01 Mar 2026 13:00:00 +0100", NOON),
        ("2026-03-01T12:00:00Z", NOON),
        ("Sun, 01 Mar 2026 12:00:00", None),
        ("2026-03-01", None),
        ("yesterday", None),
        ("Sun, 01 Mar 2026 12:00:00 Mars", None),
    ],
)
def test_a_date_without_a_certain_zone_is_none(date: str, expected: datetime | None) -> None:
    (entry,) = entries(rss([item("a", date=date)]))
    assert entry.published == expected


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [
        ("a title", "", "a title"),
        ("", "a text", "a text"),
        ("So it begins…", "So it begins, and goes on", "So it begins, and goes on"),
        ("So it begins...", "So it begins, and goes on", "So it begins, and goes on"),
        ("Same", "Same", "Same"),
        ("One", "Two", "One\nTwo"),
    ],
)
def test_a_title_that_repeats_the_text_is_left_out(title: str, text: str, expected: str) -> None:
    assert [entry.text for entry in entries(rss([item(title, text=text, guid="1")]))] == [expected]


def test_encodings() -> None:
    latin = rss([item("café")]).decode().replace("utf-8", "iso-8859-1").encode("latin-1")
    utf16 = rss([item("café")]).decode().replace("utf-8", "utf-16").encode("utf-16")
    named = b"<rss version='2.0'><channel>" + item("café").encode("windows-1252") + b"</channel></rss>"
    bom = b"\xef\xbb\xbf" + rss([item("café")])
    for body, kind in (
        (latin, "application/xml"),
        (utf16, "application/xml"),
        (named, "application/xml; charset=windows-1252"),
        (bom, "text/xml"),
    ):
        assert [entry.text for entry in entries(body, kind)] == ["café"]


def test_malformed_xml_is_read_as_far_as_it_goes() -> None:
    body = rss([item("one"), item("two")]).replace(b"</channel></rss>", b"<item><title>A & B")
    assert [entry.text for entry in entries(body)][:2] == ["one", "two"]


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>404</body></html>", b"{}", b"\x00\xff", gzip.compress(b"x", mtime=0)]
)
def test_what_is_no_feed_is_an_error(body: bytes) -> None:
    with pytest.raises(NotAFeedError):
        entries(body)


def test_a_document_that_feedparser_cannot_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors have no class of their own."""

    def fail(*_: object, **__: object) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(feedparser, "parse", fail)
    with pytest.raises(NotAFeedError, match="cannot be parsed: LookupError"):
        entries(rss([item("one")]))


def test_a_document_is_never_taken_for_a_file_name(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_bytes(rss([item("secret")]))
    with pytest.raises(NotAFeedError):
        entries(str(secret).encode())
    entity = (
        f'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{secret}">]><rss version="2.0"><channel><item><title>a&x;b</title>'
    )
    found = entries(f"{entity}</item></channel></rss>".encode())
    assert "secret" not in "".join(entry.text for entry in found)


def test_nested_entities_are_not_expanded() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE r [<!ENTITY e0 "lol">{levels}]><rss version="2.0"><channel><item><title>&e11;</title>'
    found = entries(f"{bomb}</item></channel></rss>".encode())
    assert sum(len(entry.text) for entry in found) < 1_000


def test_only_the_newest_entries_are_read() -> None:
    many = [item(str(number), date=NOON + timedelta(minutes=number)) for number in range(MAX_ENTRIES + 50)]
    found = entries(rss(many))
    assert len(found) == MAX_ENTRIES
    assert found[0].text == str(MAX_ENTRIES + 49)


def test_an_entry_that_is_there_twice_counts_once() -> None:
    assert len(entries(rss([item("a", guid="1")] * 3))) == 1


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("", None),
        ("<ttl>30</ttl>", 1_800.0),
        ("<ttl>soon</ttl>", None),
        ("<ttl>-5</ttl>", None),
        ("<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>", 1_800.0),
        ("<sy:updatePeriod>daily</sy:updatePeriod>", 86_400.0),
        ("<sy:updatePeriod>daily</sy:updatePeriod><sy:updateFrequency>0</sy:updateFrequency><ttl>nan</ttl>", 86_400.0),
    ],
)
def test_how_often_a_feed_asks_to_be_fetched(head: str, expected: float | None) -> None:
    assert parse_feed(rss([item("a")], head=head), {}, "https://example.org/").interval_s == expected


@pytest.mark.parametrize(
    ("feed_s", "server_s", "expected"),
    [(None, None, 900), (60, None, 900), (3_600, 60, 3_600), (None, 1_800, 1_800), (1e9, None, 86_400)],
)
def test_the_interval_is_the_largest_one(feed_s: float | None, server_s: float | None, expected: float) -> None:
    assert Schedule(interval_s=900).after_success(feed_s, server_s) == expected


def test_a_short_interval_is_raised_to_the_least() -> None:
    assert Schedule(interval_s=1).after_success(None, None) == 60


def test_failures_double_the_interval() -> None:
    schedule = Schedule(interval_s=900)
    assert [schedule.after_failure(failures, None) for failures in (1, 2, 3, 50)] == [900, 1_800, 3_600, 57_600]
    assert schedule.after_failure(1, 5_000) == 5_000
    assert schedule.after_failure(1, 1e9) == 86_400


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"cache-control": "public, max-age=600"}, 600.0),
        ({"cache-control": "s-maxage=5"}, None),
        ({"cache-control": "max-age=600", "expires": "Sun, 01 Mar 2026 13:00:00 GMT"}, 600.0),
        ({"expires": "Sun, 01 Mar 2026 13:00:00 GMT"}, 3_600.0),
        ({"expires": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"expires": "0"}, None),
        ({"expires": "-1"}, None),
        ({"expires": "Sun, 01 Mar 99999999999 13:00:00 GMT"}, None),
    ],
)
def test_how_long_an_answer_is_fresh(headers: dict[str, str], expected: float | None) -> None:
    assert server_hint_s(headers, NOON) == expected
