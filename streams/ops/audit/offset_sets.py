"""Sets of offsets of one partition, with one bit for each offset: a hundred million offsets take 12.5 MB. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PAGE = 65_536
"""Offsets whose bits are kept together."""


class OffsetSet:
    """A set of offsets. Its memory is one bit for each offset between the lowest and the highest, in pages."""

    def __init__(self, offsets: Iterable[int] = ()) -> None:
        self._pages: dict[int, bytearray] = {}
        for offset in offsets:
            self.add(offset)

    def add(self, offset: int) -> None:
        """Add an offset; it may be there already."""
        page, bit = divmod(offset, PAGE)
        bits = self._pages.get(page)
        if bits is None:
            bits = self._pages[page] = bytearray(PAGE // 8)
        bits[bit >> 3] |= 1 << (bit & 7)

    def add_range(self, start: int, end: int) -> None:
        """Add the offsets from `start` to below `end`."""
        for offset in range(start, end):
            self.add(offset)

    def bits(self, page: int) -> int:
        """Returns a page as an integer. Its bit `i` is set if the offset `page * PAGE + i` is in the set."""
        return int.from_bytes(self._pages.get(page, b""), "little")

    def count_below(self, end: int) -> int:
        """Returns the number of offsets in the set that are below `end`."""
        return sum(
            (self.bits(page) & ((1 << min(PAGE, end - page * PAGE)) - 1)).bit_count()
            for page in self._pages
            if page * PAGE < end
        )


def pages(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield each page that holds some of the offsets from `start` to below `end`, with a bit for each of them."""
    for page in range(start // PAGE, -(-end // PAGE)):
        first, last = max(start - page * PAGE, 0), min(end - page * PAGE, PAGE)
        if last > first:
            yield page, (1 << last) - (1 << first)


def runs(bits: int, page: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of consecutive offsets in a page's bits: the first and the last offset of each."""
    at = page * PAGE
    while bits:
        skipped = (bits & -bits).bit_length() - 1
        bits >>= skipped
        length = (bits ^ (bits + 1)).bit_length() - 1
        bits >>= length
        at += skipped
        yield at, at + length - 1
        at += length
