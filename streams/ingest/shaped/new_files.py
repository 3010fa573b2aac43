"""Reads the new files of a folder or a prefix as they come, in the order of their names."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from connectors.sources.events import Positioned, SkipReason, SourceGap, skipped
from connectors.sources.recent import Recent
from streams.errors import InputError
from streams.ingest.rows import Refusal
from streams.ingest.shaped.done import MOST_FILES, DoneFiles, FoundFile, Part, Status, read_cursor, shown
from streams.ingest.shaped.file_rows import FileRows, event_of
from streams.ingest.shaped.options import Begin, FileShape
from streams.ingest.tally import Tally
from streams.wording import counted

logger = logging.getLogger(__name__)

T = TypeVar("T")

ALL_READ: Final = "all files have been read"
"""The detail of the event after each look for new files."""

_BATCH: Final = 500
"""Rows that are read at a time."""

_LEAST_SILENCE_S: Final = 900.0
"""Seconds that a listing, or the download of an object, may take."""

_ALIVE_S: Final = 60.0
"""Seconds between two events while rows are passed over that were read before. In a large file that takes longer than a
source may be silent."""


class OtherFileError(Exception):
    """A file is gone, or has another content than the one that was found."""


class Page(NamedTuple):
    """Some of the files, in the order of their names.

    Attributes:
        files: the files that are complete.
        after: the name behind which the next page begins; None if this is the last one.
    """

    files: list[FoundFile]
    after: str | None


class FileStore(Protocol):
    """A folder or a prefix. Blocking; for one thread."""

    def begin(self, below: str) -> str:
        """Returns the name behind which a look for new files begins; an empty one to look at all files.

        Args:
            below: files whose names are not behind this one are forgotten, and count as read.
        """
        ...

    def page(self, after: str, *, first: bool = False) -> Page:
        """Returns the complete files whose names are behind `after`, or the first ones of them.

        Args:
            after: a name; an empty one for all files.
            first: whether this is the first look of a source, for which a file is complete that looks old.

        Raises:
            UnavailableError: The files cannot be listed for now.
            RejectedError: There is no such bucket, or its server refuses the credentials.
        """
        ...

    def find(self, name: str) -> FoundFile | None:
        """Returns a file as it is now, complete or not; None if there is none.

        Raises:
            UnavailableError: Nobody can tell for now.
        """
        ...

    def local(self, file: FoundFile) -> AbstractContextManager[Path]:
        """Yields a file on this machine, with the suffixes of its name.

        Raises:
            OtherFileError: The file is gone, or has another content now.
            PermissionError: The file may not be read.
            UnavailableError: The file cannot be read for now.
            InputError: The file is too large.
        """
        ...

    def interrupt(self) -> None:
        """Let a call that takes long end soon, with an UnavailableError. May be called in any thread."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFilesOptions:
    """How files are read.

    Attributes:
        kind: the kind of source.
        instance: the instance of the source, with whose name each id begins.
        shape: how each file is read.
        begin: where a source without a position begins: with the files that are there, or with those that come.
        interval_s: seconds between two looks for new files.
    """

    kind: str
    instance: str
    shape: FileShape
    begin: Begin
    interval_s: float


class NewFilesSource:
    """A source of the rows of new files. See `connectors.sources.protocol.Source`.

    A file that cannot be read is a gap with the reason, and so is one that changes after it was read or while it is
    read. The next files follow.
    """

    stable_ids = True

    def __init__(self, store: FileStore, options: NewFilesOptions) -> None:
        """Prepare a source; nothing is read."""
        self.name = options.kind
        self.silence_s = _LEAST_SILENCE_S + 10 * options.interval_s
        self._store = store
        self._options = options
        # All calls of the store and all reading is in one thread, also closing a file.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"files-{options.instance}")
        self._refused: Recent[str, str] = Recent(MOST_FILES)

    async def close(self) -> None:
        """Close the connections."""
        self._store.interrupt()
        await self._run(self._store.close)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield the rows of files behind the cursor, and look for new files again and again. See `Source.stream`.

        Raises:
            UnavailableError: The files cannot be read for now.
            RejectedError: There is no such bucket, its server refuses the credentials, or the cursor is none of this
                source.
        """
        done = DoneFiles() if cursor is None else read_cursor(cursor)
        if cursor is None and self._options.begin is Begin.LATEST:
            async with aclosing(self._pages("", first=True)) as pages:
                async for page in pages:
                    for file in page.files:
                        done.finish(file)
                    yield Positioned(skipped("these files were there before"), None)
        yield Positioned(skipped("connected"), done.text)
        while done.part is not None:
            async with aclosing(self._rest(done, done.part)) as events:
                async for positioned in events:
                    yield positioned
        while True:
            async with aclosing(self._pages(self._store.begin(done.below))) as pages:
                async for page in pages:
                    for file in page.files:
                        if (status := done.status(file)) is Status.DONE:
                            continue
                        async with aclosing(self._file(file, status, done)) as events:
                            async for positioned in events:
                                yield positioned
                    if page.after is None:
                        done.end_look()
                    yield Positioned(skipped(ALL_READ), done.text)
            await asyncio.sleep(self._options.interval_s)

    async def _pages(self, after: str, *, first: bool = False) -> AsyncGenerator[Page, None]:
        begin: str | None = after
        while begin is not None:
            page = await self._run(partial(self._store.page, begin, first=first))
            yield page
            begin = page.after

    async def _rest(self, done: DoneFiles, part: Part) -> AsyncGenerator[Positioned, None]:
        """Yield the rest of a file of which some rows were read before the cursor."""
        file = await self._run(lambda: self._store.find(part.name))
        if file is not None and file.stamp == part.stamp:
            async with aclosing(self._read(file, done, part.rows)) as events:
                async for positioned in events:
                    yield positioned
            if done.part is not None:  # it may not be opened for now
                await asyncio.sleep(self._options.interval_s)
            return
        what = "was removed" if file is None else "has changed"
        done.finish(file or FoundFile(part.name, part.stamp, 0.0, 0))
        yield _gap(f"{shown(part.name)} {what} before it was read to its end; rows read: {part.rows:,}", done)

    async def _file(self, file: FoundFile, status: Status, done: DoneFiles) -> AsyncGenerator[Positioned, None]:
        if status is Status.NEW and file.size:
            async with aclosing(self._read(file, done, 0)) as events:
                async for positioned in events:
                    yield positioned
            return
        done.finish(file)
        if status is Status.CHANGED:
            yield _gap(f"{file.shown} has changed after it was read, and is not read again", done)
        elif status is Status.LATE:
            yield _gap(
                f"{file.shown} came or changed after {MOST_FILES:,} files whose names are behind its own, and is not "
                "read; give it a later name",
                done,
            )

    async def _read(self, file: FoundFile, done: DoneFiles, skip: int) -> AsyncGenerator[Positioned, None]:
        """Yield the rows of a file behind those that are skipped, and what is wrong with it."""
        tally, rows = Tally(), skip
        reading = FileRows(self._options.shape, file.shown, self._store.local(file))
        try:
            passed, told = 0, time.monotonic()
            while passed < skip and (items := await self._run(partial(reading.batch, min(_BATCH, skip - passed)))):
                passed += len(items)
                if time.monotonic() - told >= _ALIVE_S:
                    told = time.monotonic()
                    yield Positioned(skipped(f"{file.shown}: passing over rows that were read before"), done.text)
            while items := await self._run(partial(reading.batch, _BATCH)):
                now = datetime.now(UTC)
                for item in items:
                    rows += 1
                    if isinstance(item, Refusal):
                        tally.add(item)
                    event = event_of(item, file, self._options.instance, now)
                    yield Positioned(event, done.advance(file, rows))
            last = await self._run(lambda: self._store.find(file.name))
            done.finish(file if last is None else last)
            if last is not None and last.stamp != file.stamp:
                yield _gap(f"{file.shown} has changed while it was read, and is not read again", done)
            yield Positioned(skipped(f"{file.shown} has been read"), done.text)
            self._log(file, rows - skip, tally)
        except OtherFileError:
            return  # the next look finds what is there now
        except InputError as exc:
            done.finish(file)
            yield _gap(f"{exc}; rows read: {rows:,}", done)
        except PermissionError as exc:
            if self._refused.get(file.name) != file.stamp:
                self._refused.set(file.name, file.stamp)
                detail = f"{file.shown} cannot be opened: {exc.strerror}; it is read when that is allowed"
                logger.warning("%s: %s", self._options.instance, detail)
                yield Positioned(skipped(detail, SkipReason.UNREADABLE), done.text)
        finally:
            self._thread.submit(reading.close)

    def _log(self, file: FoundFile, rows: int, tally: Tally) -> None:
        logger.info("%s: %s: read %s", self._options.instance, file.shown, counted(rows, "row"))
        for line in tally.describe():
            logger.warning("%s: %s: refused %s", self._options.instance, file.shown, line)


def _gap(reason: str, done: DoneFiles) -> Positioned:
    return Positioned(SourceGap(since=None, until=None, reason=reason), done.text)
