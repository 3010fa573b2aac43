"""The model package: reads, verifies and writes a folder with a manifest.

    manifest.json     describes the model, and lists the SHA-256 and size of every other file
    model.onnx        the network. Its inputs are `input_ids` and `attention_mask`; it has one output of logits per
                      head. A cascade has one network per tier, and the manifest names their files
    tokenizer.json    the tokenizer, in the format of the `tokenizers` library
    MODEL_CARD.md     data, terms, figures and limits, for people
    …                 golden posts, licences, and other files that the manifest lists

A package is immutable: a change of any byte makes another version. `docs/model-package.md` describes the format.
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
    DEFAULT_LANGUAGES,
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
        """The network files of the tiers, cheapest first."""
        return tuple(self.path / tier.file for tier in self.manifest.tiers)

    @property
    def golden_file(self) -> Path | None:
        """The file with golden posts; None if the package has none."""
        return self.path / self.manifest.golden if self.manifest.golden else None

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer's file."""
        return self.path / TOKENIZER


def load_package(path: str | Path) -> ModelPackage:
    """Read a package and verify every file that its manifest lists. Other files in the folder are not read.

    Raises:
        ModelNotFoundError: The folder does not exist, or has no manifest.
        ModelPackageError: The manifest is malformed, or a file is missing or differs from it. The message names the
            file. If the content differs, it also has the beginnings of the expected and the actual SHA-256.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        verify_file(folder / name, entry)
    return ModelPackage(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a package. No other file is read or verified.

    Raises:
        ModelNotFoundError: The folder does not exist, or has no manifest.
        ModelPackageError: The manifest is malformed, or cannot be read.
    """
    file = folder / MANIFEST
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as exc:
        why = f"it has no {MANIFEST}" if folder.is_dir() else "there is no such folder"
        raise ModelNotFoundError(f"no model package at {folder}: {why}") from exc
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be read: {exc.strerror}") from exc
    return parse_manifest(content, str(file))


def verify_file(file: Path, entry: FileEntry, shown_as: str | None = None) -> None:
    """Compare a file's size and SHA-256 with the manifest.

    Args:
        file: The file.
        entry: The file's entry in the manifest.
        shown_as: The file's name in messages, such as the place from which it was downloaded; by default its path.

    Raises:
        ModelDamagedError: The size or the content differs.
        ModelPackageError: The file is missing or cannot be read.
    """
    shown = shown_as or str(file)
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
    languages: Sequence[str] = DEFAULT_LANGUAGES,
) -> ModelPackage:
    """Seal a folder: compute the SHA-256 of its files, write the manifest, and load the package.

    Args:
        folder: The folder, which already has all `files`.
        name: The package's name: lower-case letters, digits, ``.``, ``_`` and ``-``.
        version: A semantic version.
        created_at: When the weights were made, with a time zone.
        base_model: The pretrained model that the training started from.
        licence: The licence of the weights.
        training_data: The data sets and their terms.
        normalization: The id of the text normalisation of the training texts.
        max_tokens: Number of tokens at which texts are cut, special tokens included.
        heads: The questions that the model answers.
        metrics: Figures by dotted name.
        files: The package's files relative to `folder`, without the manifest.
        tiers: The networks, cheapest first; by default one, ``model.onnx``.
        golden: The name of the file with golden posts (see `models.text.golden`); None if there are none.
        languages: The languages that the model reads, as codes of BCP 47; `*` for all.

    Raises:
        ModelPackageError: A file is missing, or the arguments do not make a valid manifest.
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
            languages=tuple(languages),
            metrics=dict(metrics),
            files={file: _measure(folder / file) for file in sorted(files)},
        )
    except ValidationError as exc:
        raise ModelPackageError(f"{folder} cannot be sealed: {first_problem(exc)}") from exc
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return load_package(folder)


def put_in_place(folder: Path, out: Path, aside: Path) -> None:
    """Move a finished package to `out`, and replace the package that is there.

    The old package is moved to `aside` first. If the new one cannot be moved, the old one is moved back. So a complete
    package is in one of the places at any time.

    Args:
        folder: The new package.
        out: Its destination, on the same file system.
        aside: An unused path on the same file system, for the old package.

    Raises:
        OSError: A package cannot be moved.
    """
    try:
        if out.exists():
            out.rename(aside)
        folder.rename(out)
    except BaseException:  # KeyboardInterrupt too
        if aside.exists() and not out.exists():
            aside.rename(out)
        raise


def bundled_package_path() -> Path:
    """Returns the folder of the bundled package."""
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
