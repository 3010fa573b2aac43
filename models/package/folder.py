"""The model package: one folder that says what it is and proves that it is whole.

    manifest.json     what the model is, what it answers, and the SHA-256 and size of every other file
    model.onnx        a network; `input_ids` and `attention_mask` in, one output of logits per head out. A cascade has
                      one per tier, by the names that the manifest gives
    tokenizer.json    the tokenizer, in the format of the `tokenizers` library
    MODEL_CARD.md     data, terms, figures and limits, for people
    …                 golden posts, licences, and whatever else the manifest lists

A package is immutable: a change of any byte is another version. `docs/model-package.md` describes the format.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from models.errors import ModelDamagedError, ModelNotFoundError, ModelPackageError
from models.package.manifest import (
    DEFAULT_TIERS,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    TOKENIZER,
    DataSource,
    FileEntry,
    Head,
    Manifest,
    Tier,
    first_problem,
    parse_manifest,
)

_CHUNK_BYTES: Final = 1 << 20
_DIGEST_PREFIX: Final = 12


@dataclass(frozen=True)
class ModelPackage:
    """A package whose files were verified against its manifest when it was loaded."""

    path: Path
    manifest: Manifest

    @property
    def tier_files(self) -> tuple[Path, ...]:
        """The network of each tier, cheapest first."""
        return tuple(self.path / tier.file for tier in self.manifest.tiers)

    @property
    def golden_file(self) -> Path | None:
        """The golden posts, if it has any."""
        return self.path / self.manifest.golden if self.manifest.golden else None

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer."""
        return self.path / TOKENIZER


def load_package(path: str | Path) -> ModelPackage:
    """Read a package and verify every file that its manifest lists.

    Files that the manifest does not list are left alone: they are never read.

    Args:
        path: The package's folder.

    Returns:
        The verified package.

    Raises:
        ModelNotFoundError: There is no such folder, or it holds no manifest.
        ModelPackageError: The manifest is malformed, or a file is missing or differs from it. One line that names the
            file and, where the content differs, the beginnings of the expected and the actual SHA-256.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    for name, entry in manifest.files.items():
        verify_file(folder / name, entry)
    return ModelPackage(folder, manifest)


def _read_manifest(folder: Path) -> Manifest:
    file = folder / MANIFEST
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ModelNotFoundError(f"no model package at {folder}: there is no {MANIFEST}") from exc
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be read: {exc.strerror}") from exc
    return parse_manifest(content, str(file))


def verify_file(file: Path, entry: FileEntry, called: str | None = None) -> None:
    """Compare a file's size and SHA-256 with what the manifest says.

    Args:
        file: The file.
        entry: What it must be.
        called: What to call it in an error, where its path says less than the place it came from.

    Raises:
        ModelDamagedError: Its size or content is different.
        ModelPackageError: It is missing or unreadable.
    """
    shown = called or str(file)
    try:
        size = file.stat().st_size
        actual = _sha256(file)
    except FileNotFoundError as exc:
        raise ModelPackageError(f"{shown} is missing, though the manifest lists it") from exc
    except OSError as exc:
        raise ModelPackageError(f"{shown} cannot be read: {exc.strerror}") from exc
    if (size, actual) != (entry.bytes, entry.sha256):
        raise ModelDamagedError(
            f"{shown} is damaged: expected sha256 {entry.sha256[:_DIGEST_PREFIX]}… ({entry.bytes} bytes), "
            f"found {actual[:_DIGEST_PREFIX]}… ({size} bytes)"
        )


def write_package(
    folder: Path,
    *,
    name: str,
    version: str,
    created_at: datetime,
    base_model: str,
    licence: str,
    training_data: Sequence[DataSource],
    normalization: str,
    max_tokens: int,
    heads: Sequence[Head],
    metrics: Mapping[str, float],
    files: Sequence[str],
    tiers: Sequence[Tier] = DEFAULT_TIERS,
    golden: str | None = None,
) -> ModelPackage:
    """Seal a folder that already holds its files: measure them, write the manifest last, and verify.

    Args:
        folder: Holds every one of `files`.
        name: The package's name: lower-case letters, digits, ``.``, ``_`` and ``-``.
        version: A semantic version.
        created_at: When the weights were made, with a time zone.
        base_model: The pretrained model it came from.
        licence: The licence of the weights.
        training_data: The data sets and their terms.
        normalization: The id of the text normalisation of the training texts.
        max_tokens: Where texts are cut, special tokens included.
        heads: What it answers.
        metrics: Figures by dotted name.
        files: The package's files relative to `folder`, without the manifest.
        tiers: The networks, cheapest first; by default one, ``model.onnx``.
        golden: Which of the files holds golden posts (see `models.text.golden`), if any.

    Returns:
        The package, loaded back from the folder.

    Raises:
        ModelPackageError: A file is missing, or the description does not make a valid manifest.
    """
    try:
        manifest = Manifest(
            name=name,
            version=version,
            created_at=created_at,
            base_model=base_model,
            licence=licence,
            training_data=tuple(training_data),
            normalization=normalization,
            max_tokens=max_tokens,
            heads=tuple(heads),
            tiers=tuple(tiers),
            golden=golden,
            metrics=dict(metrics),
            files={file: _measure(folder / file) for file in sorted(files)},
        )
    except ValidationError as exc:
        raise ModelPackageError(f"{folder} cannot be sealed: {first_problem(exc)}") from exc
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return load_package(folder)


def put_in_place(folder: Path, out: Path, aside: Path) -> None:
    """Let a finished package stand where it was asked for, in the place of what is there.

    The old one is moved aside first, and back where the new one cannot follow: whenever this is cut off, one is whole.

    Args:
        folder: The package; on the same file system as `out`.
        out: Where it goes.
        aside: A free place on the same file system, where the old one then is.

    Raises:
        OSError: It cannot be moved.
    """
    try:
        if out.exists():
            out.rename(aside)
        folder.rename(out)
    except BaseException:  # an interrupt too
        if aside.exists() and not out.exists():
            aside.rename(out)
        raise


def bundled_package_path() -> Path:
    """The folder of the package that ships with this project."""
    return Path(__file__).parents[1] / "bundled" / "emotion-minilm-l4"


def _measure(file: Path) -> FileEntry:
    try:
        return FileEntry(sha256=_sha256(file), bytes=file.stat().st_size)
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be read: {exc.strerror}") from exc


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
