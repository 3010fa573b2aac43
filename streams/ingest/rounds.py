"""Reads the posts of an input, once or in several rounds, and counts the rows that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from streams.errors import InputError
from streams.ingest.lines import LineReader, name_of
from streams.ingest.posts import PostMaker
from streams.ingest.reading import InputSpec, open_input, read_rows
from streams.ingest.rows import Refusal
from streams.ingest.tally import Tally
from streams.records import Post
from streams.wording import counted


@dataclass
class RoundReader:
    """Reads the posts of an input in rounds; each round reads the input from its beginning.

    Attributes:
        file: a file's path, or `-` for standard input, which allows one round only.
        spec: how to read the input.
        maker: makes the posts of the rows.
        rounds: how many rounds; None for rounds without end.
        tally: the refusals of the first round. Later rounds refuse the same rows.
    """

    file: str
    spec: InputSpec
    maker: PostMaker
    rounds: int | None = 1
    tally: Tally = field(default_factory=Tally)
    _lines: LineReader | None = None

    @property
    def position(self) -> int | None:
        """Bytes read so far; None before the first read, and if there is more than one round."""
        return self._lines.position if self._lines is not None and self.rounds == 1 else None

    def posts(self) -> Iterator[Post]:
        """Yield the posts of all rounds.

        Raises:
            InputError: The input cannot be read, or no row of it makes a post.
        """
        for number in count(1):
            if self.rounds is not None and number > self.rounds:
                return
            found = False
            for item in self._round(number):
                if isinstance(item, Post):
                    found = True
                    yield item
                elif number == 1:
                    self.tally.add(item)
            if not found:
                raise InputError(self._why_no_post())

    def _round(self, number: int) -> Iterator[Post | Refusal]:
        with open_input(self.file, self.spec) as self._lines:
            for row in read_rows(self._lines, self.spec):
                if isinstance(row, Refusal):
                    yield row
                    continue
                made = self.maker.make(row, number)
                self.tally.cleaned += row.cleaned and number == 1 and isinstance(made, Post)
                yield made

    def _why_no_post(self) -> str:
        name = name_of(self.file)
        if self.tally.total:
            return f"{name} holds no post that can be sent; refused: {counted(self.tally.total, 'row')}"
        return f"{name} holds no posts"
