"""What `emostream train` is told: one TOML file, checked before anything is read or trained."""

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
    """How to train one network."""

    seed: int = 17
    epochs: int = Field(3, ge=1)
    batch_size: int = Field(48, ge=1)
    learning_rate: Positive = 1e-4
    head_learning_rate: Positive = Field(1e-3, description="The heads start from nothing and may move faster.")
    weight_decay: float = Field(0.01, ge=0)
    dropout: Share = Field(0.1, description="Share of activations and of attention left out at random.")
    warmup: Share = Field(0.06, description="Share of the steps over which the learning rate rises.")
    label_smoothing: Share = 0.05
    repeats: dict[str, int] = Field({}, description="How often a data set is seen in an epoch, where not once.")
    balance: dict[str, Share] = Field(
        {},
        description="By data set: a label weighs its share^-balance. 0, the default, treats posts alike; 1 labels.",
    )
    distillation: Share = Field(0.0, description="Weight of the teacher's distribution against the label's.")
    distillation_temperature: Positive = 1.0
    average: Share = Field(
        0.0, description="Keep a moving average of the weights over this share of the steps; 0 keeps them as they are."
    )
    patience: int = Field(
        2, ge=1, description="Epochs without a better score before training stops and goes back to the best."
    )


class Teacher(_Section):
    """One of the networks whose answers are averaged."""

    name: PackageName
    encoder: str
    sets: tuple[str, ...] = Field(SET_NAMES, description="Data sets it learns, and is asked about.")
    recipe: Recipe = Recipe()

    @property
    def general(self) -> bool:
        """Whether it learns every data set."""
        return set(self.sets) == set(SET_NAMES)


class Student(_Section):
    """The encoder that is shipped."""

    encoder: str
    layers: tuple[int, ...] | None = Field(None, description="Which of the encoder's layers to keep; all by default.")
    pool_early: bool = Field(
        False, description="Whether the mean over the tokens is taken before the last layer, which then costs a sixth."
    )
    vocabulary_first: int = Field(8_000, ge=0, description="Keep the vocabulary's first tokens, its most frequent.")
    vocabulary_min_count: int = Field(2, ge=1, description="And those that the training texts use this often.")
    recipe: Recipe = Recipe()


class FirstTierConfig(_Section):
    """The cheap network before it."""

    width: int = Field(96, ge=1)
    filters: int = Field(192, ge=1)
    recipe: Recipe = Recipe()


class Augmentation(_Section):
    """Altered copies of posts that student and first tier are distilled on beside the posts themselves."""

    copies: dict[str, Annotated[int, Field(ge=0)]] = Field({}, description="By data set: how many of each post.")
    share: Share = Field(0.15, description="Share of a copy's words that are left out or exchanged.")
    seed: int = 17


class Cascade(_Section):
    """When the first tier's answer is good enough."""

    max_loss: Share = Field(0.002, description="What any data set's figure may lose on the calibration rows.")
    max_disagreement: Share = Field(
        0.02, description="Share of its answers that may differ from what the encoder would have said."
    )


class ScalingConfig(_Section):
    """How logits become probabilities, on the calibration rows.

    The ridge keeps the biases small: those that make the labels most likely hold the rare ones down, and macro-F1 and
    macro-recall pay for it. Of 0.001, 0.003, 0.01, 0.03 and more, 0.01 is the least with the best figures on the
    calibration rows of the bundled model; their likelihood, cross-validated, falls by 0.001 nats a row.
    """

    ridge: float = Field(RIDGE, ge=0, description="What a bias of one costs, in nats a row.")


class Package(_Section):
    """What the result is called."""

    name: PackageName
    version: PackageVersion
    licence: str = "Apache-2.0"


class TrainingConfig(_Section):
    """The whole file."""

    package: Package
    seed: int = Field(17, description="Decides which rows are held out.")
    max_tokens: int = Field(128, ge=8, le=512, description="Longer texts are cut here, in training and served.")
    calibration_rows: dict[str, int] = Field(
        description="Rows of each training file held out of training, for activation ranges, temperatures, thresholds."
    )
    teachers: tuple[Teacher, ...] = Field(min_length=1)
    augmentation: Augmentation = Augmentation()
    student: Student
    first_tier: FirstTierConfig | None = Field(None, description="No first tier: the encoder answers everything.")
    scaling: ScalingConfig = ScalingConfig()
    cascade: Cascade = Cascade()

    @property
    def general_teacher(self) -> Teacher:
        """The first teacher of every data set: the first tier starts from its word vectors."""
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
            raise ValueError(f"there is no data set {unknown[0]!r}; there are {', '.join(SET_NAMES)}")
        if len({t.name for t in self.teachers}) != len(self.teachers):
            raise ValueError("two teachers have the same name")
        if not any(teacher.general for teacher in self.teachers):
            raise ValueError("no teacher learns every data set")
        return self


def read_config(file: Path) -> TrainingConfig:
    """Read and check a configuration.

    Raises:
        OSError: It cannot be read.
        TrainingError: It is not UTF-8 or not TOML, or a field is unknown, missing or out of range; one line that names
            it.
    """
    try:
        return TrainingConfig.model_validate(tomllib.loads(read_utf8(file)))
    except tomllib.TOMLDecodeError as exc:
        raise TrainingError(f"{file} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise TrainingError(f"{file}: {first_problem(exc)}") from exc
