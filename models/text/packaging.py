"""Makes a package from any ONNX text classifier and the files beside it.

The usual case is an export of a Hugging Face model: `model.onnx`, `tokenizer.json`, and `config.json`, whose `id2label`
lists the labels. What these files do not say must be given in the `PackageSpec`.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from models.classifier import ALL_LANGUAGES
from models.errors import ModelError, ModelPackageError
from models.package.folder import ModelPackage, load_package, put_in_place, write_package
from models.package.manifest import CARD, DEFAULT_LANGUAGES, GOLDEN, MANIFEST, MODEL, TOKENIZER, Head
from models.text.golden import write_golden
from models.text.head_spec import CONFIG, HeadSpec, labels_of, resolve_heads
from models.text.network import outputs_of
from models.text.onnx_classifier import OnnxClassifier
from models.text.stated_language import check_code

NOT_STATED: Final = "not stated"
"""The licence or the base model in a manifest if nobody gave it."""

MAX_TOKENS: Final = 128

_EXTERNAL: Final = ("_data", ".data")
"""Endings of the file names under which exporters save weights outside of the graph's file."""


@dataclass(frozen=True)
class PackageSpec:
    """The files and the facts that a package is made from.

    Attributes:
        onnx: The network's file.
        name: The package's name.
        version: The package's semantic version.
        heads: The questions that the model answers. If empty, there is one head, `label` or `sentiment`, with the only
            output and the labels of `config.json`.
        tokenizer: `tokenizer.json`; None looks for it beside the network and in the folder above.
        config: `config.json` of a Hugging Face model, for the labels; None looks for it in the same places.
        card: The model card; None writes a short one.
        licence: Licence of the weights.
        base_model: The pretrained model; None takes it from `config.json`.
        normalization: A key of `models.text.normalize.NORMALIZERS`.
        max_tokens: Number of tokens at which texts are cut, special tokens included.
        languages: The languages that the model reads, as codes of BCP 47; `*` for all.
        golden_texts: Texts whose answers become golden posts.
    """

    onnx: Path
    name: str
    version: str
    heads: tuple[HeadSpec, ...] = ()
    tokenizer: Path | None = None
    config: Path | None = None
    card: Path | None = None
    licence: str = NOT_STATED
    base_model: str | None = None
    normalization: str = "none"
    max_tokens: int = MAX_TOKENS
    languages: tuple[str, ...] = DEFAULT_LANGUAGES
    golden_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Packaged:
    """What `make_package` made.

    Attributes:
        package: The package.
        golden: Number of golden posts in the package.
        notes: Sentences about what was assumed, for the user.
    """

    package: ModelPackage
    golden: int
    notes: list[str] = field(default_factory=list)


def make_package(spec: PackageSpec, out: Path, *, replace: bool = False) -> Packaged:
    """Make a package in a temporary folder, load it, classify a text with it, and move it to `out`.

    Args:
        spec: The files and the facts that the package is made from.
        out: The folder of the package. It is created or replaced only when everything has succeeded.
        replace: Whether an existing package in `out` may be replaced.

    Raises:
        ModelPackageError: A file or a fact is missing, or the parts contradict each other.
        ModelError: `out` exists and may not be replaced, or a file cannot be read or written.
    """
    if out.exists() and not (replace and (out / MANIFEST).is_file()):
        hint = f"it is not a package (no {MANIFEST}), so it is not replaced" if replace else "--replace replaces it"
        raise ModelError(f"{out} exists already; {hint}")
    _check_languages(spec.languages)
    tokenizer = spec.tokenizer or _beside(spec.onnx, TOKENIZER)
    if tokenizer is None:
        raise ModelPackageError(f"there is no {TOKENIZER} beside {spec.onnx}; give the file with --tokenizer")
    config_file = spec.config or _beside(spec.onnx, CONFIG)
    config = _read_config(config_file) if config_file else {}
    notes: list[str] = []
    heads = resolve_heads(spec.heads, outputs_of(spec.onnx), labels_of(config), notes)
    if config.get("problem_type") == "multi_label_classification":
        notes.append(f"{CONFIG} says that a text may have several labels; here each text gets the most probable one")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            folder = Path(scratch) / "package"
            folder.mkdir()
            files = _collect(spec, folder, tokenizer, heads)
            base = spec.base_model or str(config.get("_name_or_path") or NOT_STATED)
            golden = _seal_and_try(spec, folder, heads=heads, base_model=base, files=files)
            put_in_place(folder, out, Path(scratch) / "replaced")
    except OSError as exc:
        raise ModelError(f"{exc.filename or out} cannot be read or written: {exc.strerror or exc}") from exc
    return Packaged(load_package(out), golden, notes)


def _check_languages(codes: Sequence[str]) -> None:
    # A manifest with `eng` would be valid, and the model would read no post, because posts have `en`.
    for code in codes:
        if code != ALL_LANGUAGES:
            try:
                check_code(code)
            except ValueError as exc:
                raise ModelPackageError(f"languages: {exc}") from None


def _beside(onnx: Path, name: str) -> Path | None:
    # Exporters save the network in the folder of the other files, or in a folder `onnx` below it.
    return next((file for file in (onnx.parent / name, onnx.parent.parent / name) if file.is_file()), None)


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_bytes())
    except OSError as exc:
        raise ModelPackageError(f"{file} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ModelPackageError(f"{file} is not JSON: {exc}") from exc
    if not isinstance(config, dict):
        raise ModelPackageError(f"{file} is not a JSON object")
    return config


def _collect(spec: PackageSpec, folder: Path, tokenizer: Path, heads: Sequence[Head]) -> list[str]:
    """Copy or write every file of the package except the golden posts, and return the names of the files."""
    shutil.copyfile(spec.onnx, folder / MODEL)
    shutil.copyfile(tokenizer, folder / TOKENIZER)
    if spec.card is not None:
        shutil.copyfile(spec.card, folder / CARD)
    else:
        (folder / CARD).write_text(_card(spec, heads), encoding="utf-8")
    files = [MODEL, TOKENIZER, CARD]
    for ending in _EXTERNAL:
        apart = spec.onnx.with_name(spec.onnx.name + ending)
        if apart.is_file():
            # The graph refers to this file by its name, so the name is kept.
            shutil.copyfile(apart, folder / apart.name)
            files.append(apart.name)
    return files


def _seal_and_try(
    spec: PackageSpec, folder: Path, *, heads: Sequence[Head], base_model: str, files: Sequence[str]
) -> int:
    """Seal the folder and load the package; with golden texts, write the golden posts and seal the folder again.

    Returns:
        The number of golden posts.
    """

    def seal(golden: str | None) -> ModelPackage:
        return write_package(
            folder,
            name=spec.name,
            version=spec.version,
            created_at=datetime.now(UTC).replace(microsecond=0),
            base_model=base_model,
            licence=spec.licence,
            training_data=(),
            normalization=spec.normalization,
            max_tokens=spec.max_tokens,
            heads=heads,
            metrics={},
            files=[*files, *([golden] if golden else [])],
            golden=golden,
            languages=spec.languages,
        )

    try:
        classifier = OnnxClassifier.load(seal(None))
        if not spec.golden_texts:
            return 0
        count = write_golden(classifier, spec.golden_texts, folder / GOLDEN)
        seal(GOLDEN)
    except ModelPackageError as exc:
        # The temporary folder means nothing to the user, so the message names the user's files instead.
        message = str(exc).replace(f"{folder}/{MODEL}", str(spec.onnx)).replace(f"{folder}/", "")
        message = message.replace(str(folder), "the package")
        raise ModelPackageError(message) from exc
    return count


def _card(spec: PackageSpec, heads: Sequence[Head]) -> str:
    lines = [f"# {spec.name} {spec.version}", "", f"Made of `{spec.onnx.name}`; licence: {spec.licence}.", ""]
    lines += [f"- {head.name}: {', '.join(head.labels)}" for head in heads]
    return "\n".join([*lines, "", "Data, figures and limits were not given.", ""])
