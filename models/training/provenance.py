"""How a package was trained: what training records for the model card."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """One network that was trained.

    Attributes:
        name: what it is called.
        base: the pretrained encoder it started from, with its licence, or what else it started from.
        epochs: that were trained.
        minutes: that took.
        seed: of the run.
        learns: what it learnt from, in words, such as the data sets or the teachers.
        figures: its headline figures in FP32, by question.
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
    """How a package came to be.

    Attributes:
        teachers: the networks whose answers were distilled; none if labels alone were learnt.
        student: the network that is shipped.
        first_tier: the cheap network before it, if there is one.
        rows: texts trained on, by data set.
        calibration_rows: texts held out for activation scales, temperatures and thresholds, by data set.
        base_licences: of the pretrained weights, by name.
        machine: what it was trained on, in words.
        notes: anything else that a reader should know of the training; a sentence each.
    """

    teachers: tuple[Stage, ...]
    student: Stage
    first_tier: Stage | None
    rows: Mapping[str, int]
    calibration_rows: Mapping[str, int]
    base_licences: Mapping[str, str]
    machine: str
    notes: tuple[str, ...] = ()
