"""The results of an evaluation: as data, as metrics of a manifest, as JSON, and as tables of 80 columns."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from models.training.scores import HEADLINE, LabelScore
from models.training.speed import Speed

TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {"accuracy": "accuracy", "macro_f1": "macro-F1", "macro_recall": "macro-recall"}
)

_DECIMALS: Final = 4


@dataclass(frozen=True)
class TierScore:
    """The results of one tier of a cascade.

    Attributes:
        name: The tier's name.
        share: Share of the texts that the tier answered.
        accuracy: Share of these that it answered correctly; None if it answered none.
    """

    name: str
    share: float
    accuracy: float | None


@dataclass(frozen=True)
class Score:
    """The results of one question (`models.training.questions.Question`).

    Attributes:
        name: The question's name.
        data_set: The data set.
        head: The head that answered.
        labels: The labels that the data set distinguishes; the answer is the most probable of these.
        rows: Number of texts that were evaluated.
        left_out: Number of texts whose own labels map onto none or several of `labels`.
        accuracy: Share of correct answers.
        macro_f1: Mean F1 of the labels.
        macro_recall: Mean recall of the labels.
        calibration_error: Expected calibration error over 15 bins, of the probabilities among `labels`.
        served_calibration_error: The calibration error of served posts, for which all labels of the head compete.
        unknown_labels: Labels of the head that the data set does not distinguish.
        unknown_share: Share of the texts that are served one of `unknown_labels`.
        per_label: The scores of each label.
        confusion: The confusion matrix; rows are the truth, columns the answers, in the order of `labels`.
        tiers: The results of each tier, cheapest first.
    """

    name: str
    data_set: str
    head: str
    labels: tuple[str, ...]
    rows: int
    left_out: int
    accuracy: float
    macro_f1: float
    macro_recall: float
    calibration_error: float
    served_calibration_error: float
    unknown_labels: tuple[str, ...]
    unknown_share: float
    per_label: tuple[LabelScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    tiers: tuple[TierScore, ...]

    @property
    def headline(self) -> tuple[str, float]:
        """The usual figure of this question and its value; accuracy if there is no usual one."""
        figure = HEADLINE.get(self.name, "accuracy")
        return figure, float(getattr(self, figure))


@dataclass(frozen=True)
class Report:
    """The results of an evaluation.

    Attributes:
        model: The package's name.
        version: The package's version.
        split: The name of the texts, such as ``validation``.
        scores: The results of each question.
        skipped: By question, why it was skipped.
    """

    model: str
    version: str
    split: str
    scores: tuple[Score, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def score(self, name: str) -> Score | None:
        """Returns the results of a question by its name; None if it was not evaluated."""
        return next((score for score in self.scores if score.name == name), None)

    def metrics(self) -> dict[str, float]:
        """Returns the figures for a manifest, by dotted name such as ``goemotions.macro_f1``."""
        figures: dict[str, float] = {}
        for score in self.scores:
            for figure in ("accuracy", "macro_f1", "macro_recall", "calibration_error", "rows"):
                figures[f"{score.name}.{figure}"] = float(getattr(score, figure))
            if score.unknown_labels:
                for figure in ("served_calibration_error", "unknown_share"):
                    figures[f"{score.name}.{figure}"] = float(getattr(score, figure))
            for label in score.per_label:
                figures[f"{score.name}.f1.{label.label}"] = label.f1
            if len(score.tiers) > 1:
                for tier in score.tiers:
                    figures[f"{score.name}.share.{tier.name}"] = tier.share
        return {name: round(value, _DECIMALS) for name, value in figures.items()}

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields as a dict, for JSON."""
        return asdict(self)


def overview(report: Report) -> Iterator[Table]:
    """Yield the tables of an evaluation: the figures, those as served, and the share of each tier of a cascade."""
    yield summary_table(report)
    if (as_served := served_table(report)) is not None:
        yield as_served
    if any(len(score.tiers) > 1 for score in report.scores):
        yield tier_table(report)


def summary_table(report: Report) -> Table:
    """Returns a table with one row per question."""
    table = Table(title=escape(f"{report.model} {report.version}, {report.split}"), title_justify="left")
    table.add_column("data set", overflow="fold")
    for column in ("posts", "accuracy", "macro-F1", "macro-recall", "ECE"):
        table.add_column(column, justify="right")
    for score in report.scores:
        figures = {name: f"{getattr(score, name):.4f}" for name in TITLES}
        figures[score.headline[0]] = f"[bold]{figures[score.headline[0]]}[/bold]"
        table.add_row(escape(score.name), f"{score.rows:,}", *figures.values(), f"{score.calibration_error:.3f}")
    table.caption = "bold: what the set is usually judged by; ECE: calibration error"
    table.caption_justify = "left"
    return table


def served_table(report: Report) -> Table | None:
    """Returns a table of the data sets that distinguish only some labels, with the figures of all labels competing.

    Returns:
        The table; None if there is no such data set.
    """
    table = Table("data set", title="as served, all labels competing", title_justify="left")
    table.add_column("ECE", justify="right")
    table.add_column("another label", justify="right")
    table.caption = "another label: posts that are served one that the set does not know"
    table.caption_justify = "left"
    for score in report.scores:
        if score.unknown_labels:
            share = f"{100 * score.unknown_share:.1f} %"
            table.add_row(escape(score.name), f"{score.served_calibration_error:.3f}", share)
    return table if table.row_count else None


def tier_table(report: Report) -> Table:
    """Returns a table with the share and the accuracy of each tier of a cascade."""
    table = Table("data set", "tier", title="who answered", title_justify="left")
    table.add_column("share", justify="right")
    table.add_column("accuracy", justify="right")
    for score in report.scores:
        for index, tier in enumerate(score.tiers):
            accuracy = "-" if tier.accuracy is None else f"{tier.accuracy:.4f}"
            last = index == len(score.tiers) - 1
            table.add_row(
                "" if index else escape(score.name), tier.name, f"{100 * tier.share:.1f} %", accuracy, end_section=last
            )
    return table


def label_table(score: Score) -> Table:
    """Returns a table with precision, recall and F1 of each label."""
    left_out = f"; {score.left_out:,} left out" if score.left_out else ""
    title = f"{score.name} (head {score.head}), {score.rows:,} posts{left_out}"
    table = Table(title=escape(title), title_justify="left", min_width=len(title))
    table.add_column("label", overflow="fold")
    for column in ("precision", "recall", "F1", "posts"):
        table.add_column(column, justify="right")
    for label in score.per_label:
        figures = (f"{value:.3f}" for value in (label.precision, label.recall, label.f1))
        table.add_row(Text(label.label), *figures, f"{label.support:,}")
    return table


def speed_line(speed: Speed, threads: int, size: int) -> str:
    """Returns one line with the speed and the size of a package.

    Args:
        speed: The measured speed.
        threads: ONNX Runtime's intra-op threads.
        size: Size of the package in bytes.
    """
    return (
        f"{speed.per_second:,.0f} posts/s on {threads} thread{'s' if threads > 1 else ''} "
        f"(median of {speed.rounds}; {speed.slowest:,.0f} to {speed.fastest:,.0f}), "
        f"{speed.cpu_us:,.0f} µs of CPU a post; {size / 1e6:.1f} MB"
    )
