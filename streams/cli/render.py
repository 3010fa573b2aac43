"""One readable line for each kind of record. Pure: text in, rich text out; all of it safe for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from rich.text import Text

from streams.cli.output import printable
from streams.palette import COLOURS
from streams.records import ClassifiedPost, DeadPost, EmotionWindow, LatePost, Post, rfc3339
from streams.settings import Settings

_SHOWN_LABELS = 4


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """What is needed of a message."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def renderer(settings: Settings, topic: str) -> Callable[[KafkaRecord], Text]:
    """How to show a topic's records; what is not a record of the topic's kind is shown as key and value."""
    known: dict[str, Callable[[bytes], Text]] = {
        settings.topic_raw: _post,
        settings.topic_classified: _classified,
        settings.topic_dead: _dead,
        settings.topic_late: _late,
        settings.topic_windows: _window,
    }
    show = known.get(topic)

    def render(record: KafkaRecord) -> Text:
        if show is not None and record.value is not None:
            try:
                return show(record.value)
            except ValidationError:
                pass
        return _other(record)

    return render


def _clock(moment: datetime) -> tuple[str, str]:
    return f"{moment:%m-%d %H:%M:%S}Z ", "dim"


def _keywords(keywords: tuple[str, ...]) -> tuple[str, str]:
    return f"[{printable(', '.join(keywords))}] " if keywords else "", "green"


def _post(value: bytes) -> Text:
    post = Post.model_validate_json(value)
    source = (f"{printable(post.source)} ", "dim")
    return Text.assemble(_clock(post.created_at), source, _keywords(post.keywords), printable(post.text))


def _classified(value: bytes) -> Text:
    post = ClassifiedPost.model_validate_json(value)
    label = printable(post.label)
    return Text.assemble(
        _clock(post.created_at),
        (f"{label:<8} {post.confidence:4.2f} ", COLOURS.get(label, "white")),
        _keywords(post.keywords),
        printable(post.text) if post.text is not None else (printable(post.id), "dim"),
    )


def _dead(value: bytes) -> Text:
    post = DeadPost.model_validate_json(value)
    origin = f"{printable(post.origin.topic)}[{post.origin.partition}]@{post.origin.offset} "
    return Text.assemble(_clock(post.failed_at), (f"{post.reason} ", "red"), (origin, "dim"), printable(post.error))


def _late(value: bytes) -> Text:
    post = LatePost.model_validate_json(value)
    missed = f"missed window {rfc3339(post.start)} of {post.size} s; watermark {rfc3339(post.watermark)}"
    return Text.assemble(_clock(post.created_at), ("late ", "yellow"), f"{printable(post.id)} ", (missed, "dim"))


def _window(value: bytes) -> Text:
    window = EmotionWindow.model_validate_json(value)
    labels = sorted(window.labels.items(), key=lambda item: -item[1].count)
    shares = [
        (f"{printable(label)} {stats.pct:.0f}% ", COLOURS.get(label, "white"))
        for label, stats in labels[:_SHOWN_LABELS]
        if stats.count
    ]
    state = f"{'final' if window.final else 'open'} rev {window.revision}"
    late = f", {window.late} late" if window.late else ""
    return Text.assemble(
        _clock(window.start),
        (f"{window.size}s ", "dim"),
        (f"{printable(window.keyword):<12} ", "green"),
        f"{window.count:>6} ",
        *shares,
        (state + late, "dim"),
    )


def _other(record: KafkaRecord) -> Text:
    place = (f"[{record.partition}]@{record.offset} ", "dim")
    return Text.assemble(place, (f"{_text(record.key)} ", "green"), _text(record.value))


def _text(data: bytes | None) -> str:
    return "(null)" if data is None else printable(data.decode("utf-8", "replace"))
