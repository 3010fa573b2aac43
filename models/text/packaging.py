"""Makes a package of any ONNX text classifier: what it does not say itself is looked up beside it, or must be spec.

Exports of Hugging Face models are the usual case: `model.onnx`, `tokenizer.json` and a `config.json` whose `id2label`
names the labels.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from models.errors import ModelError, ModelPackageError
from models.package.folder import ModelPackage, load_package, put_in_place, write_package
from models.package.manifest import CARD, GOLDEN, MANIFEST, MODEL, TOKENIZER, Head
from models.text.golden import write_golden
from models.text.head_spec import CONFIG, HeadSpec, labels_of, resolve_heads
from models.text.network import outputs_of
from models.text.onnx_classifier import OnnxClassifier

NOT_STATED: Final = "not stated"
MAX_TOKENS: Final = 128

# How exporters name the weights that they keep apart from the graph.
_EXTERNAL: Final = ("_data", ".data")


@dataclass(frozen=True)
class PackageSpec:
    """What a package is made of.

    Attributes:
        onnx: the network.
        name: the package's name.
        version: its semantic version.
        heads: what it answers; none means one head, `label`, from the only output and `config.json`.
        tokenizer: `tokenizer.json`; None looks for it beside the network and in the folder above.
        config: `config.json` of a Hugging Face model, for labels; None looks for it in the same places.
        card: the model card; None writes a short one.
        licence: of the weights.
        base_model: what it was made from; None takes it from `config.json`.
        normalization: a key of `models.text.normalize.NORMALIZERS`.
        max_tokens: where texts are cut.
        golden_texts: texts whose answers become golden posts.
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
    golden_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Packaged:
    """A package that was made, and what should be known about it."""

    package: ModelPackage
    golden: int
    notes: list[str] = field(default_factory=list)


def make_package(spec: PackageSpec, out: Path, *, replace: bool = False) -> Packaged:
    """Make a package, load it, and let it answer, before it stands where it was asked for.

    Args:
        spec: What it is made of.
        out: The folder to make. Until everything has succeeded nothing is there.
        replace: Whether a package in that folder may be replaced.

    Raises:
        ModelPackageError: Something is missing, or does not fit together.
        ModelError: The folder is taken, or cannot be written.
    """
    if out.exists() and not (replace and (out / MANIFEST).is_file()):
        hint = f"it holds no package ({MANIFEST}), so it is not replaced" if replace else "--replace replaces a package"
        raise ModelError(f"{out} exists already; {hint}")
    tokenizer = spec.tokenizer or _beside(spec.onnx, TOKENIZER)
    if tokenizer is None:
        raise ModelPackageError(f"there is no {TOKENIZER} beside {spec.onnx}; give the tokenizer's file")
    config_file = spec.config or _beside(spec.onnx, CONFIG)
    config = _read_config(config_file) if config_file else {}
    notes: list[str] = []
    heads = resolve_heads(spec.heads, outputs_of(spec.onnx), labels_of(config), notes)
    if config.get("problem_type") == "multi_label_classification":
        notes.append(f"{CONFIG} says that several labels may hold at once; here each text gets the most probable one")
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


def _beside(onnx: Path, name: str) -> Path | None:
    # Exporters put the network beside the other files, or into a folder `onnx` below them.
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
    """Copy or write every file of the package but the golden posts; their names."""
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
            # The graph names it, so it keeps its name.
            shutil.copyfile(apart, folder / apart.name)
            files.append(apart.name)
    return files


def _seal_and_try(
    spec: PackageSpec, folder: Path, *, heads: Sequence[Head], base_model: str, files: Sequence[str]
) -> int:
    """Seal the folder, and once more with golden posts if there are to be any; how many there are."""

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
        )

    try:
        classifier = OnnxClassifier.load(seal(None))
        if not spec.golden_texts:
            return 0
        count = write_golden(classifier, spec.golden_texts, folder / GOLDEN)
        seal(GOLDEN)
    except ModelPackageError as exc:
        # The scratch folder means nothing to whoever reads this.
        message = str(exc).replace(f"{folder}/{MODEL}", str(spec.onnx)).replace(f"{folder}/", "")
        message = message.replace(str(folder), "the package")
        raise ModelPackageError(message) from exc
    return count


def _card(spec: PackageSpec, heads: Sequence[Head]) -> str:
    lines = [f"# {spec.name} {spec.version}", "", f"Made of `{spec.onnx.name}`; licence: {spec.licence}.", ""]
    lines += [f"- {head.name}: {', '.join(head.labels)}" for head in heads]
    return "\n".join([*lines, "", "Data, figures and limits were not spec.", ""])
