"""What an evaluation found: plain data, by name for a manifest, as JSON, and as tables for a terminal of 80 columns."""

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
    """What one tier of a cascade did: its share of the texts, and how often it was right; None if it answered none."""

    name: str
    share: float
    accuracy: float | None


@dataclass(frozen=True)
class Score:
    """Figures of one question; see `models.training.questions.Question` for the first four.

    Attributes:
        name: of the question.
        data_set: it was asked about.
        head: that was asked.
        labels: that competed.
        rows: texts that were asked about.
        left_out: texts of the data set whose own labels map onto none or several of `labels`.
        accuracy: share of right answers.
        macro_f1: mean F1 of the labels.
        macro_recall: mean recall of the labels.
        calibration_error: expected calibration error over 15 bins, of the probabilities among `labels`.
        served_calibration_error: the same as posts are served, where all labels of the head compete.
        unknown_labels: labels of the head that the data set does not tell apart.
        unknown_share: share of the texts that are served one of these.
        per_label: scores of each label.
        confusion: rows are the truth, columns the answers, in the order of `labels`.
        tiers: what each tier did, cheapest first.
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
        """The figure that this question is commonly judged by, and its value; accuracy where nothing is usual."""
        figure = HEADLINE.get(self.name, "accuracy")
        return figure, float(getattr(self, figure))


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Attributes:
        model: the package's name.
        version: its version.
        split: which texts, such as ``validation``.
        scores: one for each question.
        skipped: by question, why it was not asked.
    """

    model: str
    version: str
    split: str
    scores: tuple[Score, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def score(self, name: str) -> Score | None:
        """The score of a question, by its name."""
        return next((score for score in self.scores if score.name == name), None)

    def metrics(self) -> dict[str, float]:
        """The figures by dotted name, such as ``goemotions.macro_f1``, as a manifest holds them."""
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
        """Everything, ready for JSON."""
        return asdict(self)


def overview(report: Report) -> Iterator[Table]:
    """What to show of every evaluation: the figures, what is served, and who answered in a cascade."""
    yield summary_table(report)
    if (as_served := served_table(report)) is not None:
        yield as_served
    if any(len(score.tiers) > 1 for score in report.scores):
        yield tier_table(report)


def summary_table(report: Report) -> Table:
    """One row for each question."""
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
    """What the data sets that know only some of the labels hide: what is served where all compete.

    Returns:
        A row for each of them; None if there is none.
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
    """What each tier of a cascade answered."""
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
    """Precision, recall and F1 of each label."""
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
    """How fast, and how large, in one line.

    Args:
        speed: What was measured.
        threads: ONNX Runtime's.
        size: Of the package, in bytes.
    """
    return (
        f"{speed.per_second:,.0f} posts/s on {threads} thread{'s' if threads > 1 else ''} "
        f"(median of {speed.rounds}; {speed.slowest:,.0f} to {speed.fastest:,.0f}), "
        f"{speed.cpu_us:,.0f} µs of CPU a post; {size / 1e6:.1f} MB"
    )
