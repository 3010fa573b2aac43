from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from models.errors import ModelNotFoundError, ModelPackageError
from streams.cli import classify as command
from streams.errors import InputError
from streams.inputs import Row
from streams.inputs.lines import LineReader
from streams.verdict import verdicts

LABELS = ("joy", "fear")


class FakeClassifier:
    """Sure of joy where the text has "good", of fear elsewhere."""

    def __init__(self, heads: Sequence[str] = ("emotion",)) -> None:
        self.batches: list[list[str]] = []
        self.manifest = SimpleNamespace(
            name="fake", version="1.2.3", heads=[SimpleNamespace(name=name, labels=LABELS) for name in heads]
        )

    def classify(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        self.batches.append(list(texts))
        rows = [[0.9, 0.1] if "good" in text else [0.25, 0.75] for text in texts]
        return {"emotion": np.array(rows, np.float32)}


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
            "label": "joy",
            "confidence": 0.9,
            "scores": {"joy": 0.9, "fear": 0.1},
            "model": {"name": "fake", "version": "1.2.3"},
        },
        {
            "line": 4,
            "text": "oh no",
            "label": "fear",
            "confidence": 0.75,
            "scores": {"joy": 0.25, "fear": 0.75},
            "model": {"name": "fake", "version": "1.2.3"},
        },
    ]
    assert "invalid_utf8: 1 (line 3;" in stderr


@pytest.mark.usefixtures("classifier")
def test_an_id_is_carried_and_strict_is_strict() -> None:
    code, lines, _ = invoke("-", "--format", "jsonl", "--strict", stdin=b'{"text": "good", "id": 7}\n{}\n')
    assert code == 1
    assert [line["id"] for line in lines] == [7]


def test_batches_are_bounded(classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSTREAM_BATCH_MAX", "2")
    invoke("-", "--limit", "5", stdin=b"a\nb\nc\nd\ne\nf\n")
    assert classifier.batches == [["a", "b"], ["c", "d"], ["e"]]


def test_a_batch_is_handed_over_when_the_input_pauses() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as stream, open(write_end, "wb", buffering=0) as pipe:  # noqa: PTH123 - descriptors
        lines = LineReader(stream, name="pipe")
        rows = (Row(number, (data or b"").decode()) for number, data in lines)
        batches = command.batches(rows, lines, 100)
        pipe.write(b"one\ntwo\n")
        assert [row.text for row in next(batches)] == ["one", "two"]
        pipe.write(b"three\n")
        assert [row.text for row in next(batches)] == ["three"]


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


def test_a_model_without_the_head_is_named() -> None:
    with pytest.raises(ModelPackageError, match=r"fake 1\.2\.3 has no head 'emotion'"):
        list(command.classified(FakeClassifier(["sentiment"]), [Row(1, "x")]))  # type: ignore[arg-type]


def test_an_absent_model_is_named() -> None:
    with pytest.raises(ModelNotFoundError):
        invoke("-", "--model", "/nonexistent/model", stdin=b"x")


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from streams.cli import main; main(['classify', '-'])"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(b"a good day\n" * 50, timeout=60)
    assert (process.returncode, stderr) == (141, b"")


def test_verdicts() -> None:
    probabilities = np.array([[0.12344, 0.87656], [0.50001, 0.49999], [0.5, 0.5]], np.float32)
    first, second, third = verdicts(probabilities, LABELS)
    assert first.label == "fear"
    assert first.scores == {"joy": 0.1234, "fear": 0.8766}
    assert first.confidence == 0.8766
    assert (second.label, second.confidence) == ("joy", 0.5)  # decided before rounding
    assert third.label == "joy"
    assert verdicts(np.empty((0, 2), np.float32), LABELS) == []


@pytest.mark.parametrize(
    "probabilities", [np.zeros((1, 3)), np.zeros(2), np.array([[np.nan, 1.0]]), np.array([[1.5, -0.5]])]
)
def test_what_is_no_probability_is_refused(probabilities: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        verdicts(probabilities.astype(np.float32), LABELS)
