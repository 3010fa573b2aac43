"""The comparison of models as plain data and as Markdown. `benchmarks.frontier_plot` draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from models.training.markdown import markdown_table
from models.training.report import TITLES
from models.training.scores import HEADLINE
from models.training.speed import Speed

FIGURES: Final[Mapping[str, str]] = {
    question: HEADLINE[question] for question in ("emotion", "goemotions", "tweets-sentiment")
}
"""The questions that are compared, each with the figure of accuracy that is used for it."""

EMOTION_MIX: Final = "emotion"
"""Name of the mix of texts of the set emotion."""

EQUAL_MIX: Final = "all sets"
"""Name of the mix with equally many texts of each set."""


@dataclass(frozen=True)
class Contender:
    """One model, served in one way.

    Attributes:
        name: The name in the tables.
        size: Size of the model in bytes.
        figures: The accuracy by question of `FIGURES`; None if the model does not answer the question.
        published: Whether the figures are published ones, and not measured.
        speeds: The speed by mix of texts.
    """

    name: str
    size: int
    figures: Mapping[str, float | None]
    published: bool
    speeds: Mapping[str, Speed]


@dataclass(frozen=True)
class Frontier:
    """The complete comparison.

    Attributes:
        machine: What describes the machine and its load, by name.
        threads: Threads of ONNX Runtime.
        posts: Number of texts by mix.
        contenders: The models: packages in the given order, then the reference.
        reference: Name of the contender that ratios refer to; None if it was not measured.
    """

    machine: Mapping[str, str | int | float]
    threads: int
    posts: Mapping[str, int]
    contenders: tuple[Contender, ...]
    reference: str | None

    def ratio(self, contender: Contender, mix: str) -> float | None:
        """Returns the speed divided by the reference's, by wall time; None without a reference."""
        speed = self._reference_speed(mix)
        return None if speed is None else contender.speeds[mix].per_second / speed.per_second

    def processor_ratio(self, contender: Contender, mix: str) -> float | None:
        """Returns the reference's processor time divided by the contender's; None without a reference."""
        speed = self._reference_speed(mix)
        return None if speed is None else speed.cpu_us / contender.speeds[mix].cpu_us

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as data for JSON, with the ratios."""
        rows = [
            asdict(contender)
            | {
                "ratios": {
                    mix: {"wall": self.ratio(contender, mix), "cpu": self.processor_ratio(contender, mix)}
                    for mix in contender.speeds
                }
            }
            for contender in self.contenders
        ]
        return asdict(self) | {"contenders": rows}

    def _reference_speed(self, mix: str) -> Speed | None:
        return next((c.speeds[mix] for c in self.contenders if c.name == self.reference), None)


def markdown(frontier: Frontier) -> str:
    """Returns a table of accuracy and speed, and for each mix of texts a table of detailed timings."""
    mixes = list(frontier.posts)
    titles = {"emotion": "emotion", "goemotions": "GoEmotions", "tweets-sentiment": "tweets' sentiment"}
    header = ["model", "MB", *(f"{titles[name]}, {TITLES[figure]}" for name, figure in FIGURES.items())]
    for mix in mixes:
        header += [f"posts/s, {mix}", "ratio"]
    rows = []
    for contender in frontier.contenders:
        cells = [contender.name, f"{contender.size / 1e6:.1f}", *(_figure(contender, name) for name in FIGURES)]
        for mix in mixes:
            cells += [f"{contender.speeds[mix].per_second:,.0f}", _times(frontier.ratio(contender, mix))]
        rows.append(cells)
    parts = [markdown_table(header, rows, numbers=True)]
    for mix, posts in frontier.posts.items():
        title = f"{posts:,} texts of {'the set emotion' if mix == EMOTION_MIX else 'all sets in equal parts'}"
        header = ["model", "posts/s (median)", "slowest", "fastest", "ratio", "CPU µs a post", "CPU ratio"]
        rows = [
            [
                contender.name,
                *(f"{value:,.0f}" for value in (speed.per_second, speed.slowest, speed.fastest)),
                _times(frontier.ratio(contender, mix)),
                f"{speed.cpu_us:,.0f}",
                _times(frontier.processor_ratio(contender, mix)),
            ]
            for contender in frontier.contenders
            for speed in [contender.speeds[mix]]
        ]
        parts.append(f"{title}:\n\n{markdown_table(header, rows, numbers=True)}")
    rounds = next(iter(frontier.contenders[0].speeds.values())).rounds
    about = ", ".join(f"{name} {value}" for name, value in frontier.machine.items())
    reference = f"ratios are to {frontier.reference}; " if frontier.reference else ""
    parts.append(
        f"{frontier.threads} thread{'s' if frontier.threads > 1 else ''}, {rounds} interleaved rounds, tokenisation "
        f"included; {reference}{about}."
    )
    return "\n\n".join(parts) + "\n"


def mixture(sets: Sequence[Sequence[str]], posts: int) -> list[str]:
    """Returns equally many texts of each set, evenly spread over the set. The sets alternate.

    Args:
        sets: The texts of each set.
        posts: Largest number of texts. The result has fewer if the smallest set has less than its share.
    """
    share = min(posts // len(sets), *(len(texts) for texts in sets))
    step = [max(len(texts) / share, 1) if share else 1 for texts in sets]
    return [texts[int(number * step[index])] for number in range(share) for index, texts in enumerate(sets)]


def _figure(contender: Contender, name: str) -> str:
    value = contender.figures.get(name)
    if value is None:
        return "-"
    return f"{100 * value:.1f} (published)" if contender.published else f"{100 * value:.2f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"
