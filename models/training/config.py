"""The configuration of `emostream train`: a TOML file that is checked before data are read."""

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.package.manifest import PackageName, PackageVersion, first_problem
from models.training.data import SET_NAMES, read_utf8
from models.training.errors import TrainingError
from models.training.scaling import RIDGE

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "emotion-minilm-l4.toml"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(_Section):
    """The parameters of one network's training."""

    seed: int = 17
    epochs: int = Field(3, ge=1)
    batch_size: int = Field(48, ge=1)
    learning_rate: Positive = 1e-4
    head_learning_rate: Positive = Field(
        1e-3, description="Learning rate of the heads. It can be higher, because they start from random weights."
    )
    weight_decay: float = Field(0.01, ge=0)
    dropout: Share = Field(0.1, description="Share of activations and of attention that is zeroed at random.")
    warmup: Share = Field(0.06, description="Share of the steps during which the learning rate rises.")
    label_smoothing: Share = 0.05
    repeats: dict[str, int] = Field({}, description="By data set: how often it is seen in an epoch, by default once.")
    balance: dict[str, Share] = Field(
        {},
        description="By data set: a post's weight is the share of its label to the power of -balance. With 0, the "
        "default, all posts have the same weight; with 1 all labels have.",
    )
    distillation: Share = Field(
        0.0, description="Weight of the teachers' answers in the loss; the labels have the rest."
    )
    distillation_temperature: Positive = 1.0
    average: Share = Field(
        0.0,
        description="Keep a moving average of the weights over this share of the steps. 0 keeps the last weights.",
    )
    patience: int = Field(
        2, ge=1, description="Epochs without a better score after which training stops and keeps the best epoch."
    )


class Teacher(_Section):
    """One of the teachers, whose answers are averaged."""

    name: PackageName
    encoder: str
    sets: tuple[str, ...] = Field(SET_NAMES, description="The data sets that it learns and whose posts it answers.")
    recipe: Recipe = Recipe()

    @property
    def general(self) -> bool:
        """Whether the teacher learns every data set."""
        return set(self.sets) == set(SET_NAMES)


class Student(_Section):
    """The student: the network of the last tier, which learns from the teachers."""

    encoder: str
    layers: tuple[int, ...] | None = Field(None, description="The encoder's layers to keep, by number; by default all.")
    pool_early: bool = Field(
        False,
        description="Whether the mean over the tokens is taken before the last layer, which then takes a sixth of the "
        "time.",
    )
    vocabulary_first: int = Field(
        8_000, ge=0, description="Number of the vocabulary's first tokens to keep; they are the most frequent ones."
    )
    vocabulary_min_count: int = Field(
        2, ge=1, description="Also keep the tokens that the training texts use at least this often."
    )
    recipe: Recipe = Recipe()


class FirstTierConfig(_Section):
    """The cheap network of the first tier."""

    width: int = Field(96, ge=1)
    filters: int = Field(192, ge=1)
    recipe: Recipe = Recipe()


class Augmentation(_Section):
    """Altered copies of posts. Student and first tier learn the teachers' answers to the posts and to these copies."""

    copies: dict[str, Annotated[int, Field(ge=0)]] = Field({}, description="By data set: copies of each post.")
    share: Share = Field(0.15, description="Share of a copy's words that are left out or replaced.")
    seed: int = 17


class Cascade(_Section):
    """The bounds for the thresholds of the first tier."""

    max_loss: Share = Field(
        0.002, description="Greatest drop of any data set's figure on the calibration rows because of the first tier."
    )
    max_disagreement: Share = Field(
        0.02, description="Greatest share of the first tier's answers that differ from the student's."
    )


class ScalingConfig(_Section):
    """How the scaling of the logits is fitted on the calibration rows.

    The ridge keeps the biases small. Biases without it make the labels most likely, but they suppress rare labels,
    which lowers macro-F1 and macro-recall. Of 0.001, 0.003, 0.01, 0.03 and larger values, 0.01 is the smallest with the
    best figures on the calibration rows of the bundled model. It lowers their cross-validated likelihood by 0.001 nats
    a row.
    """

    ridge: float = Field(RIDGE, ge=0, description="Penalty of a bias of one, in nats per row.")


class Package(_Section):
    """The name, the version and the licence of the package."""

    name: PackageName
    version: PackageVersion
    licence: str = "Apache-2.0"


class TrainingConfig(_Section):
    """The content of the file."""

    package: Package
    seed: int = Field(17, description="Seed of the choice of the rows that are held out.")
    max_tokens: int = Field(
        128, ge=8, le=512, description="Number of tokens at which texts are cut, in training and in the package."
    )
    calibration_rows: dict[str, int] = Field(
        description="By data set: rows of its training file that are held out for activation ranges, temperatures and "
        "thresholds."
    )
    teachers: tuple[Teacher, ...] = Field(min_length=1)
    augmentation: Augmentation = Augmentation()
    student: Student
    first_tier: FirstTierConfig | None = Field(None, description="By default none: the student answers every text.")
    scaling: ScalingConfig = ScalingConfig()
    cascade: Cascade = Cascade()

    @property
    def general_teacher(self) -> Teacher:
        """The first teacher that learns every data set. The first tier starts from its word vectors."""
        return next(teacher for teacher in self.teachers if teacher.general)

    @model_validator(mode="after")
    def _names(self) -> Self:
        recipes = [teacher.recipe for teacher in self.teachers] + [self.student.recipe]
        if self.first_tier:
            recipes.append(self.first_tier.recipe)
        asked = {name for recipe in recipes for name in (*recipe.repeats, *recipe.balance)}
        asked |= {*self.calibration_rows, *self.augmentation.copies}
        asked |= {name for teacher in self.teachers for name in teacher.sets}
        if unknown := sorted(asked - {*SET_NAMES}):
            raise ValueError(f"there is no data set {unknown[0]!r}; the data sets are: {', '.join(SET_NAMES)}")
        if len({t.name for t in self.teachers}) != len(self.teachers):
            raise ValueError("two teachers have the same name")
        if not any(teacher.general for teacher in self.teachers):
            raise ValueError("no teacher learns every data set")
        return self


def read_config(file: Path) -> TrainingConfig:
    """Read and check a configuration.

    Raises:
        OSError: The file cannot be read.
        TrainingError: The file is not UTF-8 or not TOML, or a field is unknown, missing or out of range. The message
            names the field.
    """
    try:
        return TrainingConfig.model_validate(tomllib.loads(read_utf8(file)))
    except tomllib.TOMLDecodeError as exc:
        raise TrainingError(f"{file} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise TrainingError(f"{file}: {first_problem(exc)}") from exc
