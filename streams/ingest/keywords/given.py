"""Reads keywords that a user gives, as arguments or in a file with a keyword a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from streams.errors import InputError
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.keywords.keyword_set import MAX_SET
from streams.ingest.lines import open_lines


def given_keywords(arguments: Sequence[str], file: str | None) -> list[str]:
    """Returns the keywords in `arguments`, then those in the lines of `file`. Blank lines are skipped.

    Args:
        arguments: Keywords.
        file: A file in UTF-8, or `-` for standard input; None for no file.

    Raises:
        InputError: One of them cannot be a keyword, the file cannot be read, or there are none or too many.
    """
    found = [_parsed(given, f"argument {number}") for number, given in enumerate(arguments, start=1)]
    if file is not None:
        found += _at_most(MAX_SET, _keywords_of(file), file)
    if not found:
        raise InputError("no keyword is given" if file is None else f"{file} has no keyword")
    return found


def _keywords_of(file: str) -> Iterator[str]:
    with open_lines(file) as lines:
        for number, data in lines:
            where = f"{lines.name}, line {number}"
            if data is None:
                raise InputError(f"{where}: the line is too long")
            try:
                line = data.decode("utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{where}: the line is not UTF-8") from None
            if line.strip():
                yield _parsed(line, where)


def _parsed(given: str, where: str) -> str:
    try:
        return parse_keyword(given)
    except ValueError as exc:
        raise InputError(f"{where}: {exc}") from None


def _at_most(most: int, keywords: Iterable[str], file: str) -> list[str]:
    found: list[str] = []
    for keyword in keywords:
        if len(found) == most:
            raise InputError(f"{file} has more than {most:,} keywords")
        found.append(keyword)
    return found
