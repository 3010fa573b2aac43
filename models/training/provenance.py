"""How a package was trained: what training records for the model card."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """One network that was trained.

    Attributes:
        name: The network's name.
        base: What the network started from: the pretrained encoder with its licence, or word vectors.
        epochs: Number of epochs.
        minutes: Time of the training in minutes.
        seed: Seed of the training.
        learns: What the network learnt from, in words, such as the data sets or the teachers.
        figures: The headline figures of the network in FP32, by question.
    """

    name: str
    base: str
    epochs: int
    minutes: float
    seed: int
    learns: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """How a package was trained.

    Attributes:
        teachers: The networks whose answers were distilled; empty if the student learnt from labels alone.
        student: The network of the last tier.
        first_tier: The cheap network of the first tier; None if there is none.
        rows: Number of training texts by data set.
        calibration_rows: Number of texts by data set that were held out for activation scales, temperatures and
            thresholds.
        base_licences: Licences of the pretrained weights by name.
        machine: The machine, in words.
        notes: Further sentences for the reader of the card.
    """

    teachers: tuple[Stage, ...]
    student: Stage
    first_tier: Stage | None
    rows: Mapping[str, int]
    calibration_rows: Mapping[str, int]
    base_licences: Mapping[str, str]
    machine: str
    notes: tuple[str, ...] = ()
