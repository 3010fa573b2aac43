from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click import UsageError
from click.testing import CliRunner
from numpy.typing import NDArray

from models.classifier import Classification
from models.errors import ModelError, ModelNotFoundError
from models.package.manifest import DEFAULT_TIERS, Head, Tier
from streams.classification.predictions import predictions
from streams.cli import classify as command
from streams.errors import InputError
from streams.ingest.lines import LineReader
from streams.ingest.rows import Row
from streams.ops.classify import batches
from tests.tiny_model import SENTIMENT, spanish_package, tiny_manifest, tiny_package

LABELS = ("joy", "fear")


EMOTION = Head(name="emotion", labels=LABELS, output="emotion")
QUICK = Tier(name="quick", file="quick.onnx", thresholds={"emotion": 0.8})


class FakeClassifier:
    """Predicts joy for texts with "good" in them and fear for others, and positive sentiment if it has that head."""

    def __init__(self, *heads: Head, tiers: Sequence[Tier] = DEFAULT_TIERS) -> None:
        self.batches: list[list[str]] = []
        self.manifest = tiny_manifest(heads or [EMOTION], tiers=tiers, name="fake", version="1.2.3")
        self.name, self.version, self.heads = "fake", "1.2.3", self.manifest.heads
        self.languages = ["en"]

    def classify(self, texts: Sequence[str]) -> Classification:
        self.batches.append(list(texts))
        good = np.array(["good" in text for text in texts])
        rows = np.where(good[:, None], [0.9, 0.1], [0.25, 0.75]).astype(np.float32)
        positive = np.tile(np.array([0.0, 0.125, 0.875], np.float32), (len(texts), 1))
        tiers = np.zeros(len(texts), np.intp) if len(self.manifest.tiers) == 1 else 1 - good.astype(np.intp)
        names = tuple(tier.name for tier in self.manifest.tiers)
        return Classification({"emotion": rows, "sentiment": positive}, tiers, names)


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch) -> FakeClassifier:
    fake = FakeClassifier()
    monkeypatch.setattr(command, "load_classifier", lambda _settings, _model: fake)
    return fake


def invoke(*arguments: str, stdin: bytes) -> tuple[Any, list[dict[str, Any]], str]:
    result = CliRunner().invoke(command.classify, list(arguments), input=stdin, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


@pytest.mark.usefixtures("classifier")
def test_one_line_for_each_row_in_order() -> None:
    code, lines, stderr = invoke("-", stdin=b"good day\n\nbad \xff\noh no\n")
    assert code == 0
    assert lines == [
        {
            "line": 1,
            "text": "good day",
            "lang": "en",
            "lang_confidence": pytest.approx(0.9, abs=0.1),
            "label": "joy",
            "confidence": 0.9,
            "scores": {"joy": 0.9, "fear": 0.1},
            "model": {"name": "fake", "version": "1.2.3", "tier": "full"},
        },
        {
            "line": 4,
            "text": "oh no",
            "lang": "und",
            "lang_confidence": pytest.approx(0.9, abs=0.2),
            "label": "fear",
            "confidence": 0.75,
            "scores": {"joy": 0.25, "fear": 0.75},
            "model": {"name": "fake", "version": "1.2.3", "tier": "full"},
        },
    ]
    assert "invalid_utf8: 1 (line 3;" in stderr


def test_a_post_in_another_language_gets_no_label(classifier: FakeClassifier) -> None:
    posts = b'{"text": "good morning everybody"}\n{"text": "muy buenos dias"}\n{"text": "ok", "lang": "es-MX"}\n'
    code, lines, _ = invoke("-", "--format", "jsonl", stdin=posts)
    assert code == 0
    assert [(line["lang"], line["label"]) for line in lines] == [("en", "joy"), ("es", None), ("es", None)]
    assert (lines[1]["confidence"], lines[1]["scores"]) == (None, {})
    assert "model" not in lines[1]
    assert classifier.batches == [["good morning everybody"]]
    text = CliRunner().invoke(command.classify, ["-", "--text"], input=b"good morning everybody\nmuy buenos dias\n")
    assert "(es)     muy buenos dias" in text.stdout


@pytest.mark.usefixtures("classifier")
def test_the_id_is_printed_and_strict_fails_on_a_refused_row() -> None:
    code, lines, _ = invoke("-", "--format", "jsonl", "--strict", stdin=b'{"text": "good", "id": 7}\n{}\n')
    assert code == 1
    assert [line["id"] for line in lines] == ["7"]


def test_batches_are_bounded(classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_BATCH_MAX", "2")
    invoke("-", "--limit", "5", stdin=b"a\nb\nc\nd\ne\nf\n")
    assert classifier.batches == [["a", "b"], ["c", "d"], ["e"]]


def test_a_batch_ends_when_the_input_pauses() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as stream, open(write_end, "wb", buffering=0) as pipe:  # noqa: PTH123 - descriptors
        lines = LineReader(stream, name="pipe")
        rows = (Row(number, (data or b"").decode()) for number, data in lines)
        found = batches(rows, lines, 100)
        pipe.write(b"one\ntwo\n")
        assert [row.text for row in next(found)] == ["one", "two"]
        pipe.write(b"three\n")
        assert [row.text for row in next(found)] == ["three"]


@pytest.mark.usefixtures("classifier")
def test_control_characters_do_not_reach_the_terminal() -> None:
    result = CliRunner().invoke(command.classify, ["-"], input="good \x1b[31m \x9b2J \u202e".encode())
    assert result.exit_code == 0
    assert not set(result.stdout) & set("\x1b\x9b\u202e")
    assert json.loads(result.stdout)["text"] == "good \x1b[31m \x9b2J \u202e"


@pytest.mark.usefixtures("classifier")
def test_nothing_to_classify_is_an_error() -> None:
    with pytest.raises(InputError, match="stdin holds no text"):
        invoke("-", stdin=b"\n\n")


@pytest.fixture
def rich_model(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeClassifier(EMOTION, SENTIMENT, tiers=[QUICK, *DEFAULT_TIERS])
    monkeypatch.setattr(command, "load_classifier", lambda _settings, _model: fake)


@pytest.mark.usefixtures("rich_model")
def test_sentiment_and_tier_are_printed() -> None:
    _, lines, _ = invoke("-", stdin=b"good day\noh no\n")
    assert [line["sentiment"] for line in lines] == [{"label": "positive", "score": 0.875}] * 2
    assert [line["model"]["tier"] for line in lines] == ["quick", "full"]


@pytest.mark.usefixtures("rich_model")
def test_lines_for_people() -> None:
    result = CliRunner().invoke(command.classify, ["-", "--text"], input=b"good [red]day\noh \x1b[31mno\n")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "joy      0.90 +0.88 quick good [red]day",
        r"fear     0.75 +0.88 full oh \x1b[31mno",
    ]


@pytest.mark.usefixtures("classifier")
def test_a_line_for_people_without_sentiment_and_with_one_tier() -> None:
    result = CliRunner().invoke(command.classify, ["-", "--text"], input=b"good day\n")
    assert result.stdout == "joy      0.90 good day\n"


def test_labels_of_any_model_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    head = Head(name="emotion", labels=("größer als 🙂", "[bold]"), output="emotion")
    monkeypatch.setattr(command, "load_classifier", lambda _settings, _model: FakeClassifier(head))
    _, lines, _ = invoke("-", stdin=b"good\nno\n")
    assert [line["label"] for line in lines] == ["größer als 🙂", "[bold]"]
    result = CliRunner().invoke(command.classify, ["-", "--text"], input=b"good\nno\n")
    assert result.stdout.splitlines() == ["größer als 🙂 0.90 good", "[bold]   0.75 no"]


@pytest.fixture
def worker_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_package(tmp_path / "en", languages=["en"])
    spanish_package(tmp_path / "es")
    monkeypatch.setenv("EMOSTREAM_MODEL_URI", str(tmp_path / "en"))
    monkeypatch.setenv("EMOSTREAM_MODELS", f"es={tmp_path / 'es'}")


SEVERAL = "hello I love my new phone\nme encanta mi nuevo teléfono\nich liebe mein neues Telefon\n".encode()


@pytest.mark.usefixtures("worker_models")
def test_the_models_of_a_worker_answer_as_they_would_there() -> None:
    _, lines, _ = invoke("-", "--as-worker", stdin=SEVERAL)
    assert [(line["lang"], line["label"], line.get("model", {}).get("name")) for line in lines] == [
        ("en", "ham", "tiny"),
        ("es", "alegría", "spanish"),
        ("de", None, None),
    ]
    result = CliRunner().invoke(command.classify, ["-", "--text", "--as-worker"], input=SEVERAL)
    assert result.stdout.splitlines() == [
        "ham      0.91 +0.86 hello I love my new phone",
        "alegría  0.95 me encanta mi nuevo teléfono",
        "(de)     ich liebe mein neues Telefon",
    ]


@pytest.mark.usefixtures("worker_models")
def test_a_model_is_named_in_one_way() -> None:
    with pytest.raises(UsageError, match="not both"):
        invoke("-", "--as-worker", "--model", "x", stdin=b"x")


def test_a_text_that_the_model_cannot_classify_is_an_error(
    classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = classifier.classify

    def classify(texts: Sequence[str]) -> Classification:
        if "oh no" in texts:
            raise RuntimeError("the network fell over")
        return real(texts)

    monkeypatch.setattr(classifier, "classify", classify)
    with pytest.raises(ModelError, match=r"^line 2 cannot be classified: RuntimeError: the network fell over$"):
        invoke("-", stdin=b"good\noh no\ngood\n")


def test_a_model_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ModelNotFoundError):
        invoke("-", "--model", "/nonexistent/model", stdin=b"x")


def test_a_reader_that_goes_away_ends_the_command_without_a_message() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from streams.cli import main; main(['classify', '-'])"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(b"a good day\n" * 50, timeout=180)
    assert (process.returncode, stderr) == (141, b"")


def classification(rows: NDArray[np.float32]) -> Classification:
    return Classification({"emotion": rows.astype(np.float32)}, np.zeros(len(rows), np.intp))


def test_predictions() -> None:
    model = FakeClassifier(EMOTION)
    probabilities = np.array([[0.12344, 0.87656], [0.50001, 0.49999], [0.5, 0.5]], np.float32)
    first, second, third = predictions(model, classification(probabilities))
    assert first.label == "fear"
    assert first.scores == {"joy": 0.1234, "fear": 0.8766}
    assert first.confidence == 0.8766
    assert (second.label, second.confidence) == ("joy", 0.5)  # decided before rounding
    assert third.label == "joy"
    assert predictions(model, classification(np.empty((0, 2), np.float32))) == []


def test_a_sentiment_score_stays_within_its_range_and_has_no_negative_zero() -> None:
    model = FakeClassifier(SENTIMENT)
    rows = np.array([[1e-7, 0, 1.0000001], [1.0000001, 0, 1e-7], [0.50001, 0, 0.49999], [0, 1, 0]], np.float32)
    found = predictions(model, Classification({"sentiment": rows.clip(0, 1.00004)}, np.zeros(4, np.intp)))
    assert [str(prediction.sentiment.score) for prediction in found if prediction.sentiment] == [
        "1.0",
        "-1.0",
        "0.0",
        "0.0",
    ]
    assert [prediction.label for prediction in found] == ["positive", "negative", "negative", "neutral"]


@pytest.mark.parametrize(
    "probabilities", [np.zeros((1, 3)), np.zeros(1), np.array([[np.nan, 1.0]]), np.array([[1.5, -0.5]])]
)
def test_values_that_are_not_probabilities_are_refused(probabilities: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        predictions(FakeClassifier(EMOTION), classification(probabilities))
