"""Tells which entries of a feed are new, which ones were edited, and which ones were seen before. Pure.

An entry should have a guid, and a feed should never change it. Real feeds have entries without a guid, one guid for all
entries, and new guids at every fetch; the same goes for links. So an entry is compared with the remembered ones by
guid, link, date and text. Its id is made when it is first seen, and is remembered with it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

_MARK_BYTES = 5
_ID_BYTES = 12
_DATE_BYTES = 4
RECORD_BYTES = _ID_BYTES + 3 * _MARK_BYTES + _DATE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What an entry is recognised by.

    Attributes:
        guid: the guid; empty if there is none.
        link: the link; empty if there is none.
        text: the title and the text.
        date: when the entry was published, in seconds since 1970; 0 if the feed does not say.
    """

    guid: str
    link: str
    text: str
    date: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A remembered entry: its id, and hashes of its guid, link and text (empty if it has none)."""

    id: bytes
    guid: bytes
    link: bytes
    text: bytes
    date: int

    def pack(self) -> bytes:
        """Returns the record in `RECORD_BYTES` bytes."""
        return b"".join(
            (
                self.id,
                self.guid or bytes(_MARK_BYTES),
                self.link or bytes(_MARK_BYTES),
                self.text,
                self.date.to_bytes(_DATE_BYTES, "big"),
            )
        )

    @classmethod
    def unpack(cls, record: bytes) -> Known:
        """Returns the entry of a record of `pack`."""
        marks = record[_ID_BYTES:-_DATE_BYTES]
        guid, link, text = (marks[start : start + _MARK_BYTES] for start in range(0, len(marks), _MARK_BYTES))
        return cls(
            id=record[:_ID_BYTES],
            guid=guid if any(guid) else b"",
            link=link if any(link) else b"",
            text=text,
            date=int.from_bytes(record[-_DATE_BYTES:], "big"),
        )


class Verdict(Enum):
    """What an entry is, compared with the remembered ones."""

    NEW = "new"
    EDITED = "edited"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Shared:
    """Whether two entries of the feed ever had the same guid, or the same link. It stays true."""

    guids: bool = False
    links: bool = False


@dataclass(frozen=True, slots=True)
class Identified:
    """The entries of a document.

    Attributes:
        entries: for each entry, in the order of the document, what it is and how it is remembered from now on.
        shared: which marks identify no entry of this feed.
    """

    entries: tuple[tuple[Verdict, Known], ...]
    shared: Shared


def identify(feed: str, document: Sequence[Marks], known: Sequence[Known], shared: Shared) -> Identified:
    """Recognise the entries of a document. A remembered entry is at most one entry of the document.

    The pairs are found in this order, so that the surer signs count first:

    1. guid, link and text are the same
    2. the guid is the same, and is not shared by other entries; unless link, text and date all differ
    3. the link is the same, and is not shared; and the guid, the text or the date is the same too, or one has neither
    4. the text and the date are the same; without dates, unless both guid and link differ

    Args:
        feed: what tells this feed from others, for ids of entries whose guid or link is not an address.
        document: the entries of the document, each once.
        known: the remembered entries.
        shared: what the last call for this feed returned.
    """
    seen = [_known(marks) for marks in document]
    shared = Shared(
        guids=shared.guids or _repeats(seen, lambda entry: entry.guid),
        links=shared.links or _repeats(seen, lambda entry: entry.link),
    )
    pairs = _pairs(seen, known, shared)
    # An unpaired entry with a guid or link of a remembered entry is another entry: the mark is shared.
    unpaired = [entry for index, entry in enumerate(seen) if index not in pairs]
    shared = Shared(
        guids=shared.guids or _common(unpaired, known, lambda entry: entry.guid),
        links=shared.links or _common(unpaired, known, lambda entry: entry.link),
    )
    taken = {entry.id for entry in known}
    entries = []
    for index, (marks, entry) in enumerate(zip(document, seen, strict=True)):
        if (old := pairs.get(index)) is not None:
            verdict = Verdict.SAME if old.text == entry.text else Verdict.EDITED
            entries.append((verdict, replace(entry, id=old.id, date=entry.date or old.date)))
        else:
            number = _id(feed, marks, shared, taken)
            taken.add(number)
            entries.append((Verdict.NEW, replace(entry, id=number)))
    return Identified(tuple(entries), shared)


def _pairs(seen: Sequence[Known], known: Sequence[Known], shared: Shared) -> dict[int, Known]:
    """Returns the remembered entry of each entry of the document that has one, by the entry's index."""
    pairs: dict[int, Known] = {}
    used: set[bytes] = set()
    steps: tuple[tuple[Callable[[Known], object], Callable[[Known, Known], bool]], ...] = (
        (lambda entry: (entry.guid, entry.link, entry.text), lambda new, old: _agree(new.date, old.date)),
        (lambda entry: None if shared.guids else entry.guid or None, _same_by_guid),
        (lambda entry: None if shared.links else entry.link or None, _same_by_link),
        (lambda entry: entry.text, lambda new, old: _same_by_text(new, old, shared)),
    )
    for key, same in steps:
        candidates: dict[object, list[Known]] = {}
        for old in known:
            if old.id not in used:
                candidates.setdefault(key(old), []).append(old)
        for index, new in enumerate(seen):
            if index in pairs or (value := key(new)) is None:
                continue
            for old in candidates.get(value, ()):
                if old.id not in used and same(new, old):
                    pairs[index] = old
                    used.add(old.id)
                    break
    return pairs


def _agree(new: int, old: int) -> bool:
    """Returns whether two dates do not contradict each other."""
    return not new or not old or new == old


def _same_by_guid(new: Known, old: Known) -> bool:
    moved = bool(new.link and old.link) and new.link != old.link
    return not (moved and new.text != old.text and not _agree(new.date, old.date))


def _same_by_link(new: Known, old: Known) -> bool:
    if new.text == old.text or (new.date and new.date == old.date):
        return True
    if new.guid and old.guid:
        return new.guid == old.guid
    return _agree(new.date, old.date)


def _same_by_text(new: Known, old: Known, shared: Shared) -> bool:
    if new.date or old.date:
        return new.date == old.date
    other_guid = bool(new.guid and old.guid) and not shared.guids and new.guid != old.guid
    other_link = bool(new.link and old.link) and not shared.links and new.link != old.link
    return not (other_guid and other_link)


def _known(marks: Marks) -> Known:
    return Known(
        id=b"",
        guid=_hash(marks.guid)[:_MARK_BYTES] if marks.guid else b"",
        link=_hash(marks.link)[:_MARK_BYTES] if marks.link else b"",
        text=_hash(marks.text)[:_MARK_BYTES],
        date=marks.date,
    )


def _id(feed: str, marks: Marks, shared: Shared, taken: set[bytes]) -> bytes:
    """Returns the id of a new entry: the same whenever it is made from the same entry, as far as the feed permits.

    The link comes first, because it changes less often than the guid. An entry that is in two feeds has the same link.
    """
    materials = []
    if marks.link and not shared.links:
        materials.append(f"link\n{marks.link}")
    if marks.guid and not shared.guids:
        # A guid that is not an address is unique within its feed only.
        materials.append(f"guid\n{marks.guid}" if ":" in marks.guid else f"guid\n{feed}\n{marks.guid}")
    everything = f"entry\n{feed}\n{marks.guid}\n{marks.link}\n{marks.date}\n{marks.text}"
    materials.append(everything)
    for material in materials:
        if (number := _hash(material)[:_ID_BYTES]) not in taken:
            return number
    # The very same entry is in the document more than once.
    copies = (_hash(f"{everything}\n{copy}")[:_ID_BYTES] for copy in range(2, len(taken) + 3))
    return next(number for number in copies if number not in taken)


def _repeats(entries: Iterable[Known], mark: Callable[[Known], bytes]) -> bool:
    counts = Counter(value for entry in entries if (value := mark(entry)))
    return any(count > 1 for count in counts.values())


def _common(some: Iterable[Known], others: Iterable[Known], mark: Callable[[Known], bytes]) -> bool:
    return bool({value for entry in some if (value := mark(entry))} & {mark(entry) for entry in others})


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
