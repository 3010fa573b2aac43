"""Entries of feeds keep their identity whatever a feed does to its guids and links."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.rss.identity import Known, Marks, Shared, Verdict, identify

GUIDS = ("stable", "changing", "shared", "missing")
LINKS = ("stable", "changing", "shared", "missing")
numbers = count()


def marks(entry: int, guids: str, links: str, dates: str, edit: int = 0) -> Marks:
    """An entry, as a feed of this kind shows it in one document."""
    fresh = next(numbers)
    return Marks(
        guid={"stable": f"g{entry}", "changing": f"session:{fresh}", "shared": "g", "missing": ""}[guids],
        link={"stable": f"/{entry}", "changing": f"/{entry}?s={fresh}", "shared": "/", "missing": ""}[links],
        text=f"text {entry}" + f", edit {edit}" * bool(edit),
        date=1_000 + entry if dates == "dated" else 0,
    )


class Reader:
    """Reads documents one after the other, as the source does."""

    def __init__(self) -> None:
        self.known: tuple[Known, ...] = ()
        self.shared = Shared()

    def read(self, document: list[Marks]) -> list[tuple[Verdict, bytes]]:
        found = identify("feed", document, self.known, self.shared)
        records = [entry for _, entry in found.entries]
        ids = {entry.id for entry in records}
        assert len(ids) == len(document)
        self.known = (*records, *(entry for entry in self.known if entry.id not in ids))
        self.shared = found.shared
        # What the cursor carries is what was read.
        self.known = tuple(Known.unpack(entry.pack()) for entry in self.known)
        return [(verdict, entry.id) for verdict, entry in found.entries]


@given(
    guids=st.sampled_from(GUIDS),
    links=st.sampled_from(LINKS),
    dates=st.sampled_from(["dated", "undated"]),
    steps=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    size=st.integers(1, 6),
)
def test_each_entry_is_new_once(guids: str, links: str, dates: str, steps: list[int], size: int) -> None:
    if size == 1 and guids != "stable" and links != "stable":
        return  # an edit of the one entry looks like the next entry: see the tests below
    if size == 1 and guids == "shared":
        return  # likewise
    if dates == "undated" and guids == "changing" and links == "changing":
        return  # nothing but the text is left
    reader, last, new, ids = Reader(), size, Counter[int](), {}
    for step in (0, *steps):
        last += step
        entries = list(range(last, last - size, -1))
        for entry, (verdict, number) in zip(
            entries, reader.read([marks(entry, guids, links, dates) for entry in entries]), strict=True
        ):
            if verdict is Verdict.NEW:
                new[entry] += 1
                ids[entry] = number
            assert number == ids[entry]
    seen = {entry for entry in range(1, last + 1) if entry in new}
    assert all(new[entry] == 1 for entry in seen)
    assert set(range(last, last - size, -1)) <= seen
    assert len(set(ids.values())) == len(ids)


@pytest.mark.parametrize(
    ("guids", "links"),
    [("stable", "stable"), ("stable", "shared"), ("stable", "missing"), ("shared", "stable"), ("missing", "stable")],
)
@pytest.mark.parametrize("dates", ["dated", "undated"])
def test_an_edited_entry_keeps_its_id(guids: str, links: str, dates: str) -> None:
    reader = Reader()
    before = reader.read([marks(entry, guids, links, dates) for entry in (3, 2, 1)])
    after = reader.read([marks(entry, guids, links, dates, edit=entry == 2) for entry in (3, 2, 1)])
    assert [number for _, number in after] == [number for _, number in before]
    assert [verdict for verdict, _ in after] == [Verdict.SAME, Verdict.EDITED, Verdict.SAME]


def test_a_document_of_one_entry_with_one_guid_has_edits() -> None:
    reader = Reader()
    found = [reader.read([marks(entry, "shared", "shared", "dated")])[0] for entry in range(3)]
    assert [verdict for verdict, _ in found] == [Verdict.NEW, Verdict.EDITED, Verdict.EDITED]


def test_a_document_of_one_entry_without_a_guid_has_new_ones() -> None:
    reader = Reader()
    found = [reader.read([marks(entry, "missing", "shared", "dated")])[0] for entry in range(3)]
    assert [verdict for verdict, _ in found] == [Verdict.NEW] * 3
    assert len({number for _, number in found}) == 3


def test_a_reused_guid_is_a_new_entry() -> None:
    reader = Reader()
    old = reader.read([Marks(guid="1", link="/a", text="a", date=1)])
    new = reader.read([Marks(guid="1", link="/b", text="b", date=2)])
    assert new[0][0] is Verdict.NEW
    assert new[0][1] != old[0][1]


@pytest.mark.parametrize(
    ("guids", "links"),
    [
        *((guids, "stable") for guids in GUIDS),
        *((guids, links) for guids in ("stable", "shared", "missing") for links in ("shared", "missing")),
    ],
)
def test_an_id_is_the_same_without_a_memory(guids: str, links: str) -> None:
    """A process that is killed before it stores its cursor sends the same ids again."""
    one, other = Reader(), Reader()
    document = [(entry, guids, links, "dated") for entry in (3, 2, 1)]
    assert one.read([marks(*entry) for entry in document]) == other.read([marks(*entry) for entry in document])


@given(
    st.lists(
        st.builds(
            Marks,
            guid=st.sampled_from(["", "a", "b", "tag:x"]),
            link=st.sampled_from(["", "/1", "/2"]),
            text=st.sampled_from(["", "t", "u"]),
            date=st.sampled_from([0, 1, 2**32 - 1]),
        ),
        unique=True,
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_any_document_read_twice_has_nothing_new(document: list[Marks], missing: int) -> None:
    reader = Reader()
    reader.read(document[missing:])
    first = reader.read(document)
    assert reader.read(document) == [(Verdict.SAME, number) for _, number in first]
