"""The output of an evaluation: tables of 80 columns, JSON, pictures and the model card."""

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from models.errors import ModelError
from models.package.manifest import DataSource, FileEntry, Head, Manifest, Tier
from models.training.card import model_card
from models.training.confusion import draw, draw_all
from models.training.data import SETS
from models.training.provenance import Provenance, Stage
from models.training.report import (
    Report,
    Score,
    TierScore,
    label_table,
    overview,
    served_table,
    speed_line,
    summary_table,
    tier_table,
)
from models.training.scores import LabelScore
from models.training.speed import Speed

EMOTIONS = ("joy", "sadness", "anger", "fear", "love", "surprise", "disgust", "neutral")
SPEED = Speed(posts=2000, rounds=5, per_second=3456.7, slowest=3000, fastest=4000, cpu_us=289.4)


def score(name: str, head: str, labels: tuple[str, ...], left_out: int = 0) -> Score:
    count = len(labels)
    unknown = tuple(label for label in EMOTIONS if head == "emotion" and label not in labels)
    return Score(
        name=name,
        data_set=name.removesuffix("-sentiment") if name.startswith("go") else name,
        head=head,
        labels=labels,
        rows=5426,
        left_out=left_out,
        accuracy=0.61234,
        macro_f1=0.52348,
        macro_recall=0.55558,
        calibration_error=0.0321,
        served_calibration_error=0.0456,
        unknown_labels=unknown,
        unknown_share=0.1234 if unknown else 0.0,
        per_label=tuple(LabelScore(label, 0.5, 0.25, 1 / 3, 1234) for label in labels),
        confusion=tuple(tuple(12345 if i == j else i for j in range(count)) for i in range(count)),
        tiers=(TierScore("convolution", 0.6789, 0.9123), TierScore("transformer", 0.3211, None)),
    )


REPORT = Report(
    "emotion-mini",
    "2.0.0",
    "validation",
    (
        score("emotion", "emotion", EMOTIONS[:6]),
        score("goemotions", "emotion", EMOTIONS, left_out=611),
        score("goemotions-sentiment", "sentiment", ("negative", "neutral", "positive")),
        score("tweets-emotion", "emotion", ("joy", "sadness", "anger")),
    ),
)
MANIFEST = Manifest(
    name="emotion-mini",
    version="2.0.0",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    base_model="all-MiniLM-L6-v2 (Apache-2.0)",
    licence="Apache-2.0",
    training_data=(DataSource(name="GoEmotions", licence="CC BY 4.0", url="https://example.org/go", rows=41000),),
    normalization="v2",
    max_tokens=64,
    heads=(
        Head(name="emotion", labels=EMOTIONS, output="emotion"),
        Head(name="sentiment", labels=("negative", "neutral", "positive"), output="sentiment", values=(-1, 0, 1)),
    ),
    tiers=(
        Tier(
            name="convolution",
            file="first.onnx",
            temperatures={"emotion": 1.15, "sentiment": 0.9},
            biases={"sentiment": (-0.25, 0.125, 0.0)},
            thresholds={"emotion": 0.85, "sentiment": 0.7},
        ),
        Tier(name="transformer", file="model.onnx", temperatures={"emotion": 0.97}, earlier_weights={"emotion": 0.35}),
    ),
    metrics={},
    files={
        name: FileEntry(sha256="0" * 64, bytes=size)
        for name, size in {"first.onnx": 900_000, "model.onnx": 16e6, "tokenizer.json": 1, "MODEL_CARD.md": 1}.items()
    },
)
PROVENANCE = Provenance(
    teachers=(Stage("big", "bge-small (MIT)", 2, 61.4, 17, "all data sets", {"emotion": 0.941, "goemotions": 0.66}),),
    student=Stage("student", "MiniLM-L6 (Apache-2.0)", 4, 70, 18, "labels and teachers", {"emotion": 0.935}),
    first_tier=Stage("convolution", "the student's word vectors", 12, 9.2, 19, "labels and teachers"),
    rows={"emotion": 15000, "goemotions": 41000},
    calibration_rows={"emotion": 800, "goemotions": 1500},
    base_licences={"bge-small-en-v1.5": "MIT", "all-MiniLM-L6-v2": "Apache-2.0"},
    machine="two cores of a server CPU",
    notes=("The seeds fix everything but the rounding.",),
)


def shown(*tables: object) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80)
    for table in tables:
        console.print(table)
    return out.getvalue()


def test_tables_fit_a_terminal() -> None:
    text = shown(summary_table(REPORT), served_table(REPORT), tier_table(REPORT), *map(label_table, REPORT.scores))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert re.search(r"tweets-emotion\W+0\.046\W+12\.3 %", text)
    for part in ("emotion-mini 2.0.0, validation", "goemotions-sentiment", "0.6123", "67.9 %", "611 left out", "0.333"):
        assert part in text


def test_labels_are_shown_as_text_and_not_as_markup() -> None:
    odd = replace(REPORT.scores[0], name="[red]x", per_label=(LabelScore("[bold]", 1, 1, 1, 1),))
    text = shown(
        *(table(replace(REPORT, scores=(odd,))) for table in (summary_table, served_table, tier_table)),
        label_table(odd),
    )
    assert text.count("[red]x") == 4
    assert "[bold]" in text


def test_only_sets_without_some_labels_are_in_the_table_as_served() -> None:
    table = served_table(REPORT)
    assert table is not None
    text = shown(table)
    assert "emotion" in text
    assert "goemotions" not in text
    assert served_table(replace(REPORT, scores=REPORT.scores[1:3])) is None


def test_one_line_of_speed() -> None:
    line = speed_line(SPEED, 2, 16_900_000)
    assert line == "3,457 posts/s on 2 threads (median of 5; 3,000 to 4,000), 289 µs of CPU a post; 16.9 MB"


def test_a_report_is_json() -> None:
    found = json.loads(json.dumps(REPORT.to_dict()))
    assert found["scores"][1]["left_out"] == 611
    assert found["scores"][1]["confusion"][7] == [7] * 7 + [12345]
    assert found["scores"][0]["unknown_labels"] == ["disgust", "neutral"]
    assert found["scores"][0]["served_calibration_error"] == 0.0456
    assert found["scores"][0]["tiers"][1] == {"name": "transformer", "share": 0.3211, "accuracy": None}


def test_metrics_have_the_names_of_the_questions() -> None:
    metrics = REPORT.metrics()
    assert metrics["emotion.accuracy"] == 0.6123
    assert metrics["goemotions-sentiment.macro_recall"] == 0.5556
    assert metrics["goemotions.f1.disgust"] == 0.3333
    assert metrics["emotion.share.convolution"] == 0.6789


def test_a_picture_for_each_question(tmp_path: Path) -> None:
    drawn = draw_all(REPORT, tmp_path / "new" / "plots")
    assert [file.name for file in drawn] == [f"{score.name}.png" for score in REPORT.scores]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)


def test_a_matrix_has_percent_and_count_in_every_cell_that_is_not_empty() -> None:
    small = replace(REPORT.scores[0], labels=("a$b", "joy"), confusion=((30, 10), (0, 0)))
    figure = draw(small, "subtitle")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["75 %", "30", "25 %", "10"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [r"a\$b", "joy"]
    # The text is dark on light cells and white on dark ones.
    assert [text.get_color() for text in figure.axes[0].texts] == ["white", "white", "#22262b", "#22262b"]


def test_more_labels_than_can_be_drawn() -> None:
    many = tuple(map(str, range(61)))
    with pytest.raises(ModelError, match="61 labels"):
        draw(replace(REPORT.scores[0], labels=many), "")


def test_the_content_of_the_card() -> None:
    card = model_card(MANIFEST, REPORT, PROVENANCE, speed=SPEED)
    for part in (
        "# emotion-mini 2.0.0",
        "| convolution (`first.onnx`, 0.9 MB) | emotion 1.15, sentiment 0.9 | 0 | emotion 0.85, sentiment 0.7 |",
        "| transformer (`model.onnx`, 16.0 MB) | emotion 0.97 | emotion 0.35 | answers the rest |",
        "| convolution | sentiment | negative -0.25, neutral +0.12, positive +0.00 |",
        "the mean of negative -1, neutral 0, positive 1 under the probabilities",
        "3,457 posts/s on 1 thread",
        "| emotion | 5,426 | **0.6123** | 0.5235 | 0.5556 | 0.032 |",
        "| emotion | 0.046 | 12.3 % | disgust, neutral |",
        "| emotion | 67.9 %, accuracy 0.9123 | 32.1 % |",
        "611 with none or several of these labels are left out",
        "love: caring, desire, love",
        "optimism as joy",
        "| GoEmotions | CC BY 4.0 | 41,000 | https://example.org/go |",
        "- bge-small-en-v1.5: MIT",
        "| teacher: big | bge-small (MIT) | all data sets | 2 | 61 | 17 |",
        "141 minutes in all",
        "56,000 posts (emotion 15,000, goemotions 41,000)",
        "| student: student | 0.9350 | - |",
        "The seeds fix everything but the rounding.",
        "not fit to judge a person",
        "Sarcasm",
    ):
        assert part in card
    assert not re.search(r"\{|\}|None", card)


def test_a_card_without_provenance_has_no_section_on_training() -> None:
    one_tier = MANIFEST.model_copy(update={"tiers": (Tier(name="full", file="model.onnx"),)})
    card = model_card(one_tier, REPORT)
    assert "How it was trained" not in card
    assert "Pretrained weights" not in card
    everything_known = replace(REPORT, scores=REPORT.scores[1:3])
    assert "As served" in card
    assert "As served" not in model_card(one_tier, everything_known)
    assert "One network, `model.onnx`. Temperature of the softmax: 1." in card


def test_limits_of_the_public_data_sets_are_only_in_cards_of_packages_that_learnt_them() -> None:
    ours = DataSource(name=SETS[0].title, licence=SETS[0].licence)
    other = DataSource(name="invoices", licence="secret")
    for sources, told in (((), False), ((other,), False), ((other, ours), True)):
        card = model_card(MANIFEST.model_copy(update={"training_data": sources}), REPORT)
        for part in ("English", "Twitter", "hashtags", "released for education and research"):
            assert (part in card) == told, part
        assert ("| trained on |" in card) == bool(sources)
        assert ("does not say what it was trained on" in card) == (not sources)
        assert "not fit to judge a person" in card
        assert "A forced choice" in card
        assert "\n\n\n" not in card


def test_an_overview_has_no_table_without_rows() -> None:
    text = shown(*overview(REPORT))
    assert "who answered" in text
    assert "as served" in text
    plain = replace(REPORT.scores[1], tiers=REPORT.scores[1].tiers[:1])
    assert len(list(overview(replace(REPORT, scores=(plain,))))) == 1


def test_tables_of_the_card_are_well_formed() -> None:
    card = model_card(MANIFEST, REPORT, PROVENANCE, speed=SPEED)
    for table in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
