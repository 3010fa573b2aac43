"""Finds and checks the files that `emostream evaluate` reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.errors import ModelPackageError
from models.package.manifest import CARD, MANIFEST, Manifest
from models.training.data import SET_NAMES, SETS, Examples
from models.training.questions import Question, questions, read_labelled, read_sets, split_file
from streams.errors import InputError


def read_data_sets(folder: Path, split: str, names: Sequence[str]) -> tuple[Examples, dict[str, str]]:
    """Read a split of the data sets that are asked for; of every data set in the folder if `names` is empty.

    Args:
        folder: the folder of the data sets.
        split: one of `models.training.questions.SPLITS`.
        names: the data sets to read; empty for all that the folder has.

    Returns:
        The rows, and for each data set that the folder lacks, by name, a message with the missing file. There are no
        such messages if `names` is not empty.

    Raises:
        InputError: The folder does not exist or has no data set, a data set that was asked for is missing, a file
            cannot be read, or there is no text to evaluate.
        TrainingError: A file is not UTF-8, or a line of it is malformed.
    """
    missing = {
        data_set.name: f"{data_set.name}: {file} does not exist"
        for data_set in SETS
        if not (file := split_file(folder, data_set, split)).exists()
    }
    available = [name for name in SET_NAMES if name not in missing]
    if not available:
        what = "this folder does not exist" if not folder.is_dir() else f"this folder has none of the {split} files"
        raise InputError(f"{folder}: {what}; --data names the folder with {_file_names(split)}")
    for name in names:
        if name in missing:
            raise InputError(missing[name])
    try:
        examples = read_sets(folder, split, names or available)
    except OSError as exc:
        raise InputError(str(exc)) from exc
    if next(questions(examples), None) is None:
        raise InputError(f"{folder}: no posts to evaluate in {', '.join(names or available)}")
    return examples, {} if names else missing


def _file_names(split: str) -> str:
    return ", ".join(str(split_file(Path(), data_set, split)) for data_set in SETS)


def read_labelled_texts(file: Path, manifest: Manifest, head: str) -> tuple[list[str], Question]:
    """Read texts of the user's own with labels of a head, one `text<TAB>label` a line.

    Raises:
        ModelPackageError: The package has no head of this name.
        InputError: The file cannot be read.
        TrainingError: The file is not UTF-8, has no line, or a line is malformed.
    """
    try:
        return read_labelled(file, manifest.head(head))
    except KeyError as exc:
        raise ModelPackageError(
            f"model {manifest.name} {manifest.version} has no head {head!r}; its heads are: "
            f"{', '.join(head.name for head in manifest.heads)}"
        ) from exc
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror or exc}") from exc


def card_file(path: Path) -> Path:
    """Returns the file to write a model card to: `path`, or `MODEL_CARD.md` in it if `path` is a folder.

    Raises:
        InputError: The file is in a model package, whose checksums do not allow another card.
    """
    file = path / CARD if path.is_dir() else path
    if (file.parent / MANIFEST).exists():
        raise InputError(f"{file.parent} is a sealed package; another card would break its checksums")
    return file
