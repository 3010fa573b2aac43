"""What a comparison of models found: as plain data and as Markdown. `benchmarks.frontier_plot` draws it."""

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
"""The questions that are compared, and the figure of each."""

EMOTION_MIX: Final = "emotion"
EQUAL_MIX: Final = "all sets"


@dataclass(frozen=True)
class Contender:
    """One model in one way of serving it.

    Attributes:
        name: what it is called.
        size: bytes.
        figures: by question of `FIGURES`; None where it has no such answer.
        published: whether the figures are from others' publications and not measured here.
        speeds: by mix of texts.
    """

    name: str
    size: int
    figures: Mapping[str, float | None]
    published: bool
    speeds: Mapping[str, Speed]


@dataclass(frozen=True)
class Frontier:
    """The whole comparison.

    Attributes:
        machine: what it ran on, and how busy that was.
        threads: of ONNX Runtime.
        posts: texts of each mix.
        contenders: in the order they were given.
        reference: the name of the contender that ratios are to; None where it was not measured.
    """

    machine: Mapping[str, str | int | float]
    threads: int
    posts: Mapping[str, int]
    contenders: tuple[Contender, ...]
    reference: str | None

    def ratio(self, contender: Contender, mix: str) -> float | None:
        """How many times as fast as the reference, by wall time."""
        speed = self._reference_speed(mix)
        return None if speed is None else contender.speeds[mix].per_second / speed.per_second

    def processor_ratio(self, contender: Contender, mix: str) -> float | None:
        """How many times less processor time than the reference."""
        speed = self._reference_speed(mix)
        return None if speed is None else speed.cpu_us / contender.speeds[mix].cpu_us

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON, the ratios included."""
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
    """A table of figures and speeds, then for each mix of texts a table of the timing in detail."""
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
        title = f"{posts:,} texts of {'the set emotion' if mix == EMOTION_MIX else 'all sets alike'}"
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
    """As many texts of each set, evenly spread over it, taken in turns.

    Args:
        sets: The texts of each set.
        posts: At most so many in all; fewer where the smallest set does not hold its share.
    """
    share = min(posts // len(sets), *(len(texts) for texts in sets))
    step = [max(len(texts) / share, 1) if share else 1 for texts in sets]
    return [texts[int(turn * step[index])] for turn in range(share) for index, texts in enumerate(sets)]


def _figure(contender: Contender, name: str) -> str:
    value = contender.figures.get(name)
    if value is None:
        return "-"
    return f"{100 * value:.1f} (published)" if contender.published else f"{100 * value:.2f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"
