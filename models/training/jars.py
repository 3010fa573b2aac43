"""Files that are downloaded once and kept, and whose SHA-256 is known."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from models.training.errors import TrainingError


def known_file(locate: Callable[[], Path], sha256: str, what: str) -> Path:
    """Returns a file with a known SHA-256. A file with other content is removed and downloaded once more.

    A download that was cut off leaves a truncated file, which the download tool takes for complete.

    Args:
        locate: Returns the kept file; downloads it if there is none.
        sha256: The expected SHA-256 in hex.
        what: The file's name in messages.

    Raises:
        TrainingError: The SHA-256 differs also after the second download.
        OSError: The file cannot be downloaded, read or removed.
    """
    file = locate()
    if _sha256(file) != sha256:
        file.unlink()
        file = locate()
    if (found := _sha256(file)) != sha256:
        raise TrainingError(f"{file} is not {what}: its SHA-256 is {found[:12]}… instead of {sha256[:12]}…")
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
