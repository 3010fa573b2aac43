"""Reads the files of rules and of channels."""

from __future__ import annotations

from pathlib import Path

from streams.errors import SettingsError


def read_text(path: Path, most_bytes: int) -> str:
    """Returns the text of a file.

    Raises:
        SettingsError: The file cannot be read, is not UTF-8, or has more than `most_bytes`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise SettingsError([f"{path}: cannot be read: {reason}"]) from None
    if len(data) > most_bytes:
        raise SettingsError([f"{path}: is longer than {most_bytes:,} bytes"])
    return text
