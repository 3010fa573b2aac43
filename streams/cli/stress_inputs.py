"""Reads the keywords and the texts of `emostream stress`."""

from __future__ import annotations

import json
from pathlib import Path

from streams.errors import InputError


def lines_of(file: Path) -> list[str]:
    """Returns the lines of a text file without blank ones.

    Raises:
        InputError: The file cannot be read, or has no line.
    """
    found = [line.strip() for line in _read(file).splitlines() if line.strip()]
    if not found:
        raise InputError(f"{file}: has no line")
    return found


def texts_of(file: Path) -> list[str]:
    """Returns the texts of a file of JSON lines.

    Raises:
        InputError: The file cannot be read, or a line has no text.
    """
    found = []
    for number, line in enumerate(_read(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            text = None
        if not isinstance(text, str) or not text:
            raise InputError(f'{file}:{number}: is no JSON object with a "text"')
        found.append(text)
    if not found:
        raise InputError(f"{file}: has no line")
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is not UTF-8"
        raise InputError(f"{file}: cannot be read: {reason}") from exc
