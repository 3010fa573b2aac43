"""Reads the rows of a Parquet file. Needs the extra `parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from streams.errors import InputError
from streams.ingest.documents import Document

_BATCH_ROWS: Final = 1_000
"""Rows that are converted at a time."""


def parquet_rows(file: str) -> Iterator[Document]:
    """Yield the rows of a file as objects, whose members are named as the columns. The number of a row is from 1.

    The rows are converted a thousand at a time. The library keeps the pages of the current row group in memory.

    Raises:
        InputError: The file is not a Parquet file, or the extra `parquet` is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise InputError('Parquet files need an extra: pip install "emostream[parquet]"') from None
    number = 0
    try:
        with Path(file).open("rb") as stream, parquet.ParquetFile(stream) as table:
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Document(number, {name: _value(value) for name, value in row.items()})
    # A time that is beyond those of Python is a ValueError or an OverflowError.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as exc:
        problem = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise InputError(f"{file} cannot be read as Parquet after row {number}: {problem}") from exc


def _value(value: Any) -> object:  # noqa: ANN401 - any type of a column
    """Returns a value as JSON has it. A time without a zone becomes text, so that it needs a zone."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.isoformat(sep=" ")
    return value
