"""`manifest.json`: the fields of a package's manifest, and the checks that they do not contradict each other. Pure.

`models.package.folder` reads and writes the folder. `docs/model-package.md` describes the format.
"""

import re
import unicodedata
from pathlib import PurePosixPath
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
from semver import Version

from models.errors import ModelPackageError

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MODEL: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
CARD: Final = "MODEL_CARD.md"
GOLDEN: Final = "golden.jsonl"

REQUIRED_FILES: Final = frozenset({TOKENIZER, CARD})
"""The files that every package has, besides the networks of its tiers."""

DEFAULT_LANGUAGES: Final = ("en",)
MAX_MANIFEST_BYTES: Final = 1 << 20
"""Greatest size of a manifest: enough for many heads, and small enough to read into memory."""

_MAX_FILE_NAME: Final = 255
"""Greatest length of a path in the package, in bytes of UTF-8. File systems allow this much for one part of a path."""

# Names become folders and object keys, so they must not contain characters with a meaning there.
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")


def _plain_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!a} is not a valid name: use lower-case letters, digits, '.', '_' and '-', such as emotion-small"
        )
    return name


def _semantic_version(version: str) -> str:
    if not Version.is_valid(version):
        raise ValueError(f"{version!a} is not a semantic version, such as 1.0.0")
    return version


def _clean_label(label: str) -> str:
    """Refuse a label that Postgres, JSON or a terminal cannot represent. Any script, inner blanks and emoji are fine.

    Raises:
        ValueError: The label is refused.
    """
    if label != label.strip():
        raise ValueError(f"the label {label!a} is blank, or begins or ends with white space")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in label):
        raise ValueError(f"the label {label!a} contains a control character or a lone surrogate")
    return label


def _safe_relative(name: str) -> str:
    """Refuse a file name that leads out of the package's folder, or that the manifest cannot list.

    Raises:
        ValueError: The name is refused.
    """
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise ValueError("is not a plain relative path with forward slashes")
    if len(name.encode(errors="replace")) > _MAX_FILE_NAME:
        raise ValueError(f"is longer than {_MAX_FILE_NAME} bytes in UTF-8")
    if name == MANIFEST:
        raise ValueError("the manifest cannot list itself")
    return name


PackageName = Annotated[str, StringConstraints(max_length=100), AfterValidator(_plain_name)]
PackageVersion = Annotated[str, StringConstraints(max_length=100), AfterValidator(_semantic_version)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_clean_label)]
Language = Annotated[str, StringConstraints(pattern=r"^([a-z]{2,3}|\*)$")]
FileName = Annotated[str, AfterValidator(_safe_relative)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(_Frozen):
    """One question that the model answers: which of the labels fits a text."""

    name: PackageName
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    output: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="The ONNX output with this head's logits, float32[batch, labels]."
    )
    kind: Literal["softmax"] = "softmax"
    values: tuple[Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)], ...] | None = Field(
        default=None,
        description="The value of each label, from -1 to 1, such as -1, 0, 1 for negative, neutral, positive. A text's "
        "score is the mean of the values, weighted by its probabilities.",
    )

    @model_validator(mode="after")
    def _labels_and_values(self) -> Self:
        if twice := sorted({label for label in self.labels if self.labels.count(label) > 1}):
            raise ValueError(f"head {self.name!r} lists a label twice: {', '.join(twice)}")
        if self.values is not None and len(self.values) != len(self.labels):
            raise ValueError(
                f"head {self.name!r} has {len(self.values)} values for {len(self.labels)} labels; give one number for "
                "each label, in their order"
            )
        return self


class Tier(_Frozen):
    """One network of a cascade, and how sure it must be to answer a text.

    The confidence for a text in a head is the largest probability of the softmax, with the tier's temperature and
    biases (bias-corrected temperature scaling, Alexandari et al. 2020). The first tier whose confidence reaches the
    threshold in every head of its `thresholds` answers the text. If a tier does not answer, the next tier may add its
    probabilities with a weight, as a logarithmic opinion pool does (Genest and Zidek 1986).
    """

    name: PackageName
    file: FileName = Field(description="The network. All tiers take the same token ids and give the same outputs.")
    # The numbers are bounded because they are applied in float32, where extreme ones become infinite or zero.
    temperatures: dict[PackageName, Annotated[float, Field(ge=1e-3, le=1e3)]] = Field(
        default={}, description="By head: the logits are divided by this number before the softmax; by default 1."
    )
    biases: dict[PackageName, tuple[Annotated[float, Field(ge=-100, le=100)], ...]] = Field(
        default={},
        description="By head: one number for each label, added to the logits after the division; by default 0.",
    )
    thresholds: dict[PackageName, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default={},
        description="By head: the smallest confidence with which the tier answers. The last tier has no thresholds, "
        "because it answers all remaining texts.",
    )
    earlier_weights: dict[PackageName, Annotated[float, Field(ge=0, le=100)]] = Field(
        default={},
        description="By head: the logarithms of the previous tier's probabilities, times this weight, are added to the "
        "logits; by default 0.",
    )

    def temperature(self, head: str) -> float:
        """Returns the number that the logits of a head are divided by."""
        return self.temperatures.get(head, 1.0)


DEFAULT_TIERS: Final = (Tier(name="full", file=MODEL),)


class FileEntry(_Frozen):
    """The SHA-256 and the size of a file."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: int = Field(ge=0)


class DataSource(_Frozen):
    """A data set that the model was trained on, and its terms."""

    name: Annotated[str, StringConstraints(min_length=1)]
    licence: Annotated[str, StringConstraints(min_length=1)]
    url: str | None = None
    rows: int | None = Field(default=None, ge=0)


class Manifest(_Frozen):
    """The content of `manifest.json`.

    Unknown fields are refused, because a package of a later format cannot be read correctly without them.
    """

    format_version: Literal[1] = FORMAT_VERSION
    name: PackageName
    version: PackageVersion
    created_at: AwareDatetime
    base_model: Annotated[str, StringConstraints(min_length=1)]
    licence: Annotated[str, StringConstraints(min_length=1)] = Field(description="Licence of the weights.")
    training_data: tuple[DataSource, ...]
    normalization: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="The text normalisation that the model was trained with; see `models.text.normalize`."
    )
    max_tokens: int = Field(
        ge=2, le=100_000, description="Number of tokens at which longer texts are cut, special tokens included."
    )
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = Field(
        default=DEFAULT_LANGUAGES, description="Codes of the languages that the model reads; `*` if it reads all."
    )
    heads: Annotated[tuple[Head, ...], Field(min_length=1)] = Field(description="The first gives a post its label.")
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)] = Field(
        default=DEFAULT_TIERS, description="The networks, cheapest first."
    )
    golden: FileName | None = Field(
        default=None, description="File of posts with the answers that the model gave when it was sealed (JSON lines)."
    )
    metrics: dict[str, float] = Field(description="Figures by dotted name, such as `emotion.accuracy`.")
    files: dict[FileName, FileEntry]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _distinct("heads", [head.name for head in self.heads])
        _distinct("tiers", [tier.name for tier in self.tiers])
        _distinct("languages", list(self.languages))
        self._check_tiers()
        wanted = REQUIRED_FILES | {tier.file for tier in self.tiers} | ({self.golden} if self.golden else set())
        if missing := sorted(wanted - self.files.keys()):
            raise ValueError(f"files does not list {', '.join(missing)}")
        names = {MANIFEST, *self.files}
        for name in self.files:
            if clash := names.intersection(map(str, PurePosixPath(name).parents)):
                raise ValueError(f"files lists {name!a}, but {clash.pop()!a} cannot be both a file and a folder")
        return self

    def _check_tiers(self) -> None:
        heads = [head.name for head in self.heads]
        for tier in self.tiers:
            for field in ("temperatures", "biases", "thresholds", "earlier_weights"):
                named: dict[str, object] = getattr(tier, field)
                if unknown := sorted(named.keys() - set(heads)):
                    raise ValueError(
                        f"tier {tier.name!r}: {field} names the unknown head {', '.join(unknown)}; the heads are: "
                        f"{', '.join(heads)}"
                    )
            for name, biases in tier.biases.items():
                labels = len(self.head(name).labels)
                if len(biases) != labels:
                    raise ValueError(
                        f"tier {tier.name!r}: head {name!r} has {len(biases)} biases for {labels} labels; give one "
                        "number for each label, in their order"
                    )
        if self.tiers[0].earlier_weights:
            raise ValueError(f"tier {self.tiers[0].name!r} is the first, so it must not have earlier_weights")
        *earlier, last = self.tiers
        for tier in earlier:
            if not tier.thresholds:
                raise ValueError(
                    f"tier {tier.name!r} has no thresholds, so no text would reach the tiers after it; give every tier "
                    "except the last at least one threshold"
                )
        if last.thresholds:
            raise ValueError(f"tier {last.name!r} is the last and answers all other texts; it must not have thresholds")

    @property
    def size(self) -> int:
        """Size of the package in bytes, without the manifest."""
        return sum(entry.bytes for entry in self.files.values())

    def head(self, name: str) -> Head:
        """Returns the head of this name.

        Raises:
            KeyError: There is no such head.
        """
        for head in self.heads:
            if head.name == name:
                return head
        raise KeyError(name)


def _distinct(what: str, names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two {what} have the same name: {', '.join(twice)}")


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Parse and validate a manifest.

    Args:
        content: The JSON, as UTF-8.
        where: The manifest's name in messages.

    Raises:
        ModelPackageError: The manifest is malformed. The message has the first problem and the number of the others.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise ModelPackageError(f"{where} is larger than {MAX_MANIFEST_BYTES} bytes, so it is not a manifest")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as exc:
        raise ModelPackageError(f"{where} is malformed: {first_problem(exc)}") from exc


def first_problem(error: ValidationError) -> str:
    """Returns the first problem of a validation, with the field's path, and the number of other problems."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    field = ".".join(str(part) for part in problems[0]["loc"])
    message = problems[0]["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{field}: {message}{more}" if field else f"{message}{more}"
