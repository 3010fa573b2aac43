"""The model package: one folder that says what it is and proves that it is whole.

    manifest.json     what the model is, what it answers, and the SHA-256 and size of every other file
    model.onnx        the network; `input_ids` and `attention_mask` in, one output of logits per head
    tokenizer.json    the tokenizer, in the format of the `tokenizers` library
    MODEL_CARD.md     data, terms, figures and limits, for people
    …                 licences, and whatever else the manifest lists

A package is immutable: a change of any byte is another version. `docs/model-package.md` describes the format.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from models.errors import ModelNotFoundError, ModelPackageError

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MODEL: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
CARD: Final = "MODEL_CARD.md"
REQUIRED_FILES: Final = frozenset({MODEL, TOKENIZER, CARD})

# Small enough to read at once, large enough for many heads; a larger one is not a manifest.
MAX_MANIFEST_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 20
_DIGEST_PREFIX: Final = 12

# semver.org's own expression, without the named groups.
_SEMVER = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-((0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(\+([0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*))?$"
)
# Names become folders and object keys, so they hold nothing that either could misread.
_NAME = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"

PackageName = Annotated[str, StringConstraints(pattern=_NAME, max_length=100)]
PackageVersion = Annotated[str, StringConstraints(pattern=_SEMVER, max_length=100)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100)]


def _safe_relative(name: str) -> str:
    """Refuse a name that could lead out of the package's folder, or that the manifest cannot list."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise ValueError("is not a plain relative path with forward slashes")
    if name == MANIFEST:
        raise ValueError("the manifest cannot list itself")
    return name


FileName = Annotated[str, StringConstraints(max_length=255), AfterValidator(_safe_relative)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(_Frozen):
    """One question that the model answers: which of these labels."""

    name: PackageName
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    output: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="The ONNX output with this head's logits, float32[batch, labels]."
    )
    kind: Literal["softmax"] = "softmax"
    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Logits are divided by this before the softmax."
    )

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("the labels are not distinct")
        return self


class FileEntry(_Frozen):
    """What a file must be."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: int = Field(ge=0)


class DataSource(_Frozen):
    """A data set the model was trained on, and its terms."""

    name: Annotated[str, StringConstraints(min_length=1)]
    licence: Annotated[str, StringConstraints(min_length=1)]
    url: str | None = None
    rows: int | None = Field(default=None, ge=0)


class Manifest(_Frozen):
    """`manifest.json`. Unknown fields are refused: a package of a later format must not be half understood."""

    format_version: Literal[1] = FORMAT_VERSION
    name: PackageName
    version: PackageVersion
    created_at: AwareDatetime
    base_model: Annotated[str, StringConstraints(min_length=1)]
    licence: Annotated[str, StringConstraints(min_length=1)] = Field(description="Licence of the weights.")
    training_data: tuple[DataSource, ...]
    normalization: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="Which text normalisation the model was trained with; see `models.normalize`."
    )
    max_tokens: int = Field(ge=2, le=100_000, description="Longer texts are cut here; special tokens included.")
    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    metrics: dict[str, float] = Field(description="Figures by dotted name, such as `emotion.accuracy`.")
    files: dict[FileName, FileEntry]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [head.name for head in self.heads]
        if len(set(names)) != len(names):
            raise ValueError("two heads have the same name")
        if missing := sorted(REQUIRED_FILES - self.files.keys()):
            raise ValueError(f"files lists no {', '.join(missing)}")
        return self

    def head(self, name: str) -> Head:
        """The head of this name.

        Raises:
            KeyError: There is none.
        """
        for head in self.heads:
            if head.name == name:
                return head
        raise KeyError(name)


@dataclass(frozen=True)
class ModelPackage:
    """A package whose files were verified against its manifest when it was loaded."""

    path: Path
    manifest: Manifest

    @property
    def model_file(self) -> Path:
        """The ONNX network."""
        return self.path / MODEL

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
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        verify_file(folder / name, entry)
    return ModelPackage(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read and validate `manifest.json` without looking at the other files.

    Raises:
        ModelNotFoundError: There is no manifest there.
        ModelPackageError: It cannot be read or is malformed.
    """
    file = folder / MANIFEST
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ModelNotFoundError(f"no model package at {folder}: there is no {MANIFEST}") from exc
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be read: {exc.strerror}") from exc
    return parse_manifest(content, str(file))


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Validate the bytes of a manifest.

    Args:
        content: The JSON, as UTF-8.
        where: What to call it in an error.

    Raises:
        ModelPackageError: One line with the first thing that is wrong, and how many there are.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise ModelPackageError(f"{where} is larger than {MAX_MANIFEST_BYTES} bytes: not a manifest")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_context=False, include_input=False)
        field = ".".join(str(part) for part in errors[0]["loc"]) or "manifest"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ModelPackageError(f"{where} is malformed: {field}: {errors[0]['msg']}{more}") from exc


def verify_file(file: Path, entry: FileEntry, called: str | None = None) -> None:
    """Compare a file's size and SHA-256 with what the manifest says.

    Args:
        file: The file.
        entry: What it must be.
        called: What to call it in an error, where its path says less than the place it came from.

    Raises:
        ModelPackageError: It is missing, unreadable or different.
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
        raise ModelPackageError(
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
            metrics=dict(metrics),
            files={file: _measure(folder / file) for file in sorted(files)},
        )
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ModelPackageError(f"{folder} cannot be sealed: {field}: {first['msg']}") from exc
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return load_package(folder)


def bundled_package_path() -> Path:
    """The folder of the package that ships with this project."""
    return Path(__file__).parent / "bundled" / "emotion-minilm-l6"


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
