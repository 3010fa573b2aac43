"""Renders a record of each kind as one line of rich text that is safe for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from connectors.kafka.tail import KafkaRecord
from streams.cli.label_styles import LabelStyles
from streams.cli.output import printable, printable_name
from streams.records import (
    ALL_KEYWORDS,
    ClassifiedPost,
    DeadPost,
    EmotionTotals,
    EmotionWindow,
    KeywordTotals,
    LatePost,
    Post,
    RecordError,
)
from streams.settings import Settings
from streams.window_sizes import format_duration

_SHOWN_LABELS = 4

_SHOWN_BYTES = 2_000
"""The most bytes that are shown of a key or a value that is no record of emostream. `--json` writes all of them."""

_LABEL_CELLS = 8
"""Labels are padded to this width, in terminal cells, which every label of the bundled models fits into."""


def renderer(settings: Settings, topic: str, styles: LabelStyles) -> Callable[[KafkaRecord], Text]:
    """Returns the function that renders a topic's records, with the labels in these styles.

    A record that is not of the topic's kind is rendered as partition, offset, key and value.
    """
    known: dict[str, Callable[[bytes], Text]] = {
        settings.topic_raw: _post,
        settings.topic_classified: lambda value: _classified(value, styles),
        settings.topic_dead: _dead,
        settings.topic_late: _late,
        settings.topic_windows: lambda value: window_text(EmotionWindow.from_json(value), styles),
        settings.topic_totals: lambda value: _totals(value, styles),
    }
    show = known.get(topic)

    def render(record: KafkaRecord) -> Text:
        if show is not None and record.value is not None:
            try:
                return show(record.value)
            except RecordError:
                pass
        return _other(record)

    return render


def _clock(moment: datetime) -> tuple[str, str]:
    return f"{moment:%m-%d %H:%M:%S}Z ", "dim"


def _keywords(keywords: tuple[str, ...]) -> tuple[str, str]:
    return f"[{', '.join(map(printable_name, keywords))}] " if keywords else "", "green"


def _post(value: bytes) -> Text:
    post = Post.from_json(value)
    source = (f"{printable(post.source)} ", "dim")
    return Text.assemble(_clock(post.created_at), source, _keywords(post.keywords), printable(post.text))


def prediction_text(label: str, confidence: float, sentiment: float | None, styles: LabelStyles) -> Text:
    """Returns a prediction as text: label, confidence, and the sentiment from -1 to 1 if there is one."""
    shown = printable(label)
    score = "" if sentiment is None else f"{sentiment_text(sentiment)} "
    return Text.assemble(
        (f"{shown}{' ' * (_LABEL_CELLS - cell_len(shown))} {confidence:4.2f} ", styles.of(label)), (score, "dim")
    )


def unsupported_text(language: str | None) -> Text:
    """Returns what stands in place of a prediction if the model does not read the language of a post."""
    return Text(f"({printable(language or 'und')}) ".ljust(_LABEL_CELLS + 1), style="dim")


def sentiment_text(score: float) -> str:
    """Returns a sentiment score in five characters, such as `+0.83`."""
    return f"{round(score, 2) + 0.0:+.2f}"  # adding zero makes 0.0 of -0.0, whose sign would be printed


def _classified(value: bytes, styles: LabelStyles) -> Text:
    post = ClassifiedPost.from_json(value)
    if post.label is None or post.confidence is None:
        prediction = unsupported_text(post.lang)
    else:
        sentiment = None if post.sentiment is None else post.sentiment.score
        prediction = prediction_text(post.label, post.confidence, sentiment, styles)
    return Text.assemble(
        _clock(post.created_at),
        prediction,
        _keywords(post.keywords),
        printable(post.text) if post.text is not None else (printable(post.id), "dim"),
    )


def _dead(value: bytes) -> Text:
    post = DeadPost.from_json(value)
    origin = f"{printable(post.origin.topic)}[{post.origin.partition}]@{post.origin.offset} "
    return Text.assemble(_clock(post.failed_at), (f"{post.reason} ", "red"), (origin, "dim"), printable(post.error))


def _late(value: bytes) -> Text:
    post = LatePost.from_json(value)
    missed = (
        f"too late for the window {post.start.rfc3339()} of {post.size} s; latest event time of its partition "
        f"{post.latest_event_time.rfc3339()}"
    )
    return Text.assemble(_clock(post.created_at), ("late ", "yellow"), f"{printable(post.id)} ", (missed, "dim"))


def window_text(window: EmotionWindow, styles: LabelStyles) -> Text:
    """Returns a window as text: start, size, keyword, posts, mean sentiment, the largest shares, and its state."""
    state = f"{'final' if window.final else 'open'} rev {window.revision}"
    late = f", {window.late} late" if window.late else ""
    unsupported = f", {window.unsupported} unsupported" if window.unsupported else ""
    return Text.assemble(
        _clock(window.start),
        (f"{format_duration(window.size)} ", "dim"),
        (f"{printable_name(window.keyword):<12} ", "green"),
        f"{window.count:>6} ",
        ("" if window.sentiment is None else f"{sentiment_text(window.sentiment.mean_sentiment)} ", "dim"),
        *_shares({label: stats.count for label, stats in window.labels.items()}, styles),
        (state + late + unsupported, "dim"),
    )


def _totals(value: bytes, styles: LabelStyles) -> Text:
    totals = EmotionTotals.from_json(value)
    every = totals.keywords.get(ALL_KEYWORDS, KeywordTotals(count=0, labels={}))
    most = [word for word in totals.keywords if word != ALL_KEYWORDS][:_SHOWN_LABELS]
    return Text.assemble(
        _clock(totals.at),
        (f"{format_duration(totals.size)} from {totals.start:%m-%d %H:%M}Z ", "dim"),
        f"{every.count:>6} ",
        ("" if every.mean_sentiment is None else f"{sentiment_text(every.mean_sentiment)} ", "dim"),
        *_shares(every.labels, styles),
        (f"{every.unsupported} unsupported " if every.unsupported else "", "dim"),
        (" ".join(f"{printable_name(word)} {totals.keywords[word].count}" for word in most), "green"),
    )


def _shares(counts: dict[str, int], styles: LabelStyles) -> list[tuple[str, str]]:
    total = sum(counts.values())
    most = sorted(counts.items(), key=lambda item: -item[1])[:_SHOWN_LABELS]
    return [(f"{printable(label)} {100 * posts / total:.0f}% ", styles.of(label)) for label, posts in most if posts]


def _other(record: KafkaRecord) -> Text:
    place = (f"[{record.partition}]@{record.offset} ", "dim")
    return Text.assemble(place, (f"{_text(record.key)} ", "green"), _text(record.value))


def _text(data: bytes | None) -> str:
    if data is None:
        return "(null)"
    text = printable(data[:_SHOWN_BYTES].decode("utf-8", "replace"))
    return text if len(data) <= _SHOWN_BYTES else f"{text} … ({len(data):,} bytes)"
