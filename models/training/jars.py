"""Files that are fetched once and kept: whatever lies there must be the one that we know."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from models.training.errors import TrainingError


def known_file(locate: Callable[[], Path], sha256: str, what: str) -> Path:
    """A file with a known content, fetched again once if it is another.

    A download that was cut off leaves a beginning of it, which whoever keeps the files takes for the whole.

    Args:
        locate: Gives the kept file; downloads it if there is none.
        sha256: Of its content.
        what: What to call it.

    Raises:
        TrainingError: It is another file also when it was just fetched.
        OSError: It cannot be fetched, read or removed.
    """
    file = locate()
    if _sha256(file) != sha256:
        file.unlink()
        file = locate()
    if (found := _sha256(file)) != sha256:
        raise TrainingError(f"{file} is not the {what} that we know: its SHA-256 is {found[:12]}…")
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
