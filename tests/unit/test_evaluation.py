"""Evaluation: the figures of correct and wrong answers, among the labels of a data set, and of each tier."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import ModelPackageError
from models.package.manifest import Head, Tier
from models.text.onnx_classifier import OnnxClassifier
from models.training import scores
from models.training.data import SET_NAMES, SETS, Examples
from models.training.errors import TrainingError
from models.training.evaluate import ask, evaluate, restricted
from models.training.labels import EMOTIONS, GO_EMOTIONS, sentiment_of
from models.training.metrics import headline
from models.training.questions import questions, read_labelled, read_sets, split_file
from models.training.report import TITLES
from tests.tiny_model import SENTIMENT, network, tiny_package

# The labels have another order than those of the data sets, and one of them is in no data set.
EMOTION = Head(name="emotion", labels=("boredom", *reversed(EMOTIONS)), output="emotion")
WORDS = {
    "buy": {"emotion": "anger", "sentiment": "negative"},
    "hello": {"emotion": "joy", "sentiment": "positive"},
    "groß": {"emotion": "neutral", "sentiment": "neutral"},
    "bad": {"emotion": "sadness", "sentiment": "negative"},
    "good": {"emotion": "love", "sentiment": "positive"},
    "filler": {},
}
LINES = {
    "emotion": ["hello\tjoy", "good\tlove", "bad\tsadness", "bad\tfear"],
    "goemotions": [
        "a\tgroß\tneutral",
        "b\tgood\tcaring,love",
        "c\thello good\tjoy,love",
        "d\tbad\tcuriosity",
        "e\thello\tjoy,anger",
    ],
    "tweets-emotion": ["hello\toptimism", "groß buy\tanger", "hello\tsadness"],
    "tweets-sentiment": ["good\tpositive", "bad\tnegative", "good\tneutral", "groß\tneutral"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for data_set in SETS:
        file = split_file(folder, data_set, "validation")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(LINES[data_set.name]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def examples(data: Path) -> Examples:
    return read_sets(data, "validation")


@pytest.fixture
def classifier(tmp_path: Path) -> OnnxClassifier:
    heads = (EMOTION, SENTIMENT)
    return OnnxClassifier.load(
        tiny_package(tmp_path / "tiny", heads=heads, networks={"model.onnx": network(heads, WORDS)})
    )


def test_figures_of_a_confusion_matrix() -> None:
    truth, answers = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    confusion = scores.confusion_matrix(truth, answers, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert scores.accuracy(confusion) == 0.5
    # The fourth label does not occur, so it counts in no mean. The third is never answered, so its F1 is 0.
    assert scores.macro_f1(confusion) == pytest.approx((2 / 3.5 + 0.5 + 0) / 3)
    assert scores.macro_recall(confusion) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    first, *_, last = scores.label_scores(confusion, "abcd")
    assert first == scores.LabelScore("a", 0.5, pytest.approx(2 / 3), pytest.approx(4 / 7), 3)
    assert last == scores.LabelScore("d", 0, 0, 0, 0)


def test_figures_without_rows_are_zero() -> None:
    nothing = np.zeros((3, 3), np.int64)
    assert (scores.accuracy(nothing), scores.macro_f1(nothing), scores.macro_recall(nothing)) == (0, 0, 0)
    assert scores.calibration_error(np.zeros((0, 3), np.float32), np.array([], np.int64)) == 0


def test_calibration_error() -> None:
    # There are two bins: nine of ten answers with confidence 0.9 are right, none of ten with confidence 0.6.
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10, np.float32)
    truth = np.array([0] * 9 + [1] * 11)
    assert scores.calibration_error(probabilities, truth) == pytest.approx(0.3, abs=1e-6)
    certain = np.array([[1.0, 0.0]], np.float32)
    assert scores.calibration_error(certain, np.array([0])) == 0
    assert scores.calibration_error(certain, np.array([1])) == 1


def test_only_the_labels_of_the_data_set_compete() -> None:
    found = restricted(np.array([[0.6, 0.3, 0.1], [1, 0, 0]], np.float32), [2, 1])
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.5, 0.5]])


def test_the_questions_of_the_data_sets(examples: Examples) -> None:
    asked = {question.name: question for question in questions(examples)}
    assert list(asked) == ["emotion", "goemotions", "goemotions-sentiment", "tweets-emotion", "tweets-sentiment"]
    assert asked["emotion"].labels == EMOTIONS[:6]
    assert set(asked["tweets-emotion"].labels) == {"joy", "anger", "sadness"}
    # Two of GoEmotions' five texts have two emotions: joy with love, and joy with anger. Curiosity has no sentiment,
    # and joy with anger has two.
    assert (len(asked["goemotions"].rows), asked["goemotions"].left_out) == (3, 2)
    assert (len(asked["goemotions-sentiment"].rows), asked["goemotions-sentiment"].left_out) == (3, 2)
    truth = [asked["goemotions"].labels[i] for i in asked["goemotions"].truth]
    assert truth == ["neutral", "love", "surprise"]


def test_texts_are_not_normalised(data: Path) -> None:
    file = data / "emotion" / "validation.tsv"
    file.write_text("sooooo good &amp; bad\tjoy\n", encoding="utf-8")
    assert read_sets(data, "validation", ["emotion"]).texts == ("sooooo good &amp; bad",)


def test_labels_are_matched_by_name(classifier: OnnxClassifier, examples: Examples) -> None:
    told: list[int] = []
    report = evaluate(classifier, examples, on_posts=told.append)
    assert (report.model, report.version, report.split) == ("tiny", "1.0.0", "validation")
    emotion = report.score("emotion")
    assert emotion is not None
    assert (emotion.rows, emotion.left_out, emotion.accuracy) == (4, 0, 0.75)
    assert emotion.confusion[emotion.labels.index("fear")][emotion.labels.index("sadness")] == 1
    assert emotion.macro_f1 == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    # "groß buy" is neutral as much as anger, and the tweets have no label neutral.
    tweets = report.score("tweets-emotion")
    assert tweets is not None
    assert tweets.accuracy == pytest.approx(2 / 3)
    assert {score.name: score.headline[1] for score in report.scores} == {
        "emotion": 0.75,
        "goemotions": pytest.approx((1 + 1 + 0 + 0) / 4),
        "goemotions-sentiment": 1.0,
        "tweets-emotion": pytest.approx(2 / 3),
        "tweets-sentiment": pytest.approx((1 + 1 + 0.5) / 3),
    }
    assert report.metrics()["tweets-sentiment.macro_recall"] == 0.8333
    # Every text of a question is classified once. One text of GoEmotions is in no question.
    assert told == [len(examples) - 1]


def test_confidence_is_also_measured_as_it_is_served(tmp_path: Path) -> None:
    """Among the labels of a data set the confidence is higher. A served label may be one that the set lacks."""
    heads = (EMOTION,)
    words = {"groß": {"emotion": "neutral"}, "hello": {"emotion": "joy"}, "buy": {"emotion": "anger"}, "filler": {}}
    package = tiny_package(
        tmp_path / "tiny",
        heads=heads,
        networks={"model.onnx": network(heads, {word: words.get(word, {}) for word in WORDS})},
    )
    folder = tmp_path / "data"
    file = folder / SETS[0].validation
    file.parent.mkdir(parents=True)
    # The third text has two words for neutral, which the data set lacks, and one for joy, its label.
    file.write_text("hello\tjoy\nbuy\tjoy\ngroß groß hello\tjoy\nhello\tjoy\n", encoding="utf-8")
    report = evaluate(OnnxClassifier.load(package), read_sets(folder, "validation", ["emotion"]))
    (score,) = report.scores
    assert score.unknown_labels == ("boredom", "neutral", "disgust")
    assert score.unknown_share == 0.25
    assert score.accuracy == 0.75
    # One logit is 3 and the others are 0, over six labels and over nine. Two of three words are neutral, over nine.
    among, served = (np.exp(3) / (np.exp(3) + others) for others in (5, 8))
    elsewhere = np.exp(6) / (np.exp(6) + np.exp(3) + 7)
    assert score.calibration_error == pytest.approx(abs(4 * among - 3) / 4, abs=1e-6)
    assert score.served_calibration_error == pytest.approx((abs(3 * served - 2) + elsewhere) / 4, abs=1e-6)
    assert report.metrics()["emotion.served_calibration_error"] == round(score.served_calibration_error, 4)
    assert report.metrics()["emotion.unknown_share"] == 0.25


def test_a_set_with_every_label_has_the_same_figures_as_served(classifier: OnnxClassifier, examples: Examples) -> None:
    report = evaluate(classifier, examples)
    sentiment = report.score("tweets-sentiment")
    assert sentiment is not None
    assert (sentiment.unknown_labels, sentiment.unknown_share) == ((), 0)
    assert sentiment.served_calibration_error == sentiment.calibration_error
    assert "tweets-sentiment.unknown_share" not in report.metrics()
    assert "emotion.unknown_share" in report.metrics()


def test_each_tier_has_its_own_figures(tmp_path: Path, examples: Examples) -> None:
    heads = (EMOTION, SENTIMENT)
    tiers = (Tier(name="sure", file="first.onnx", thresholds={"sentiment": 0.9}), Tier(name="rest", file="model.onnx"))
    # The first tier is sure of "good" only, and answers joy.
    easy = {word: {"sentiment": "positive", "emotion": "joy"} if word == "good" else {} for word in WORDS}
    networks = {"first.onnx": network(heads, easy, strength=6.0), "model.onnx": network(heads, WORDS)}
    package = tiny_package(tmp_path / "tiny", heads=heads, tiers=tiers, networks=networks)
    report = evaluate(OnnxClassifier.load(package), examples)
    emotion = report.score("emotion")
    assert emotion is not None
    sure, rest = emotion.tiers
    assert (sure.name, sure.share, sure.accuracy) == ("sure", 0.25, 0.0)
    assert (rest.name, rest.share, rest.accuracy) == ("rest", 0.75, pytest.approx(2 / 3))
    assert report.metrics()["emotion.share.sure"] == 0.25
    tweets = report.score("tweets-emotion")
    assert tweets is not None
    assert [(tier.share, tier.accuracy) for tier in tweets.tiers] == [(0, None), (1, pytest.approx(2 / 3))]


def test_a_missing_label_is_named(tmp_path: Path, examples: Examples) -> None:
    six = Head(name="emotion", labels=EMOTIONS[:6], output="emotion")
    words = {word: {} for word in WORDS}
    package = tiny_package(tmp_path / "tiny", heads=[six], networks={"model.onnx": network([six], words)})
    classifier = OnnxClassifier.load(package)
    with pytest.raises(
        ModelPackageError, match=r"goemotions: head 'emotion' of model tiny 1\.0\.0 has no label disgust, neu"
    ):
        evaluate(classifier, examples)
    report = evaluate(classifier, examples, skip=True)
    assert [score.name for score in report.scores] == ["emotion", "tweets-emotion"]
    assert list(report.skipped) == ["goemotions", "goemotions-sentiment", "tweets-sentiment"]
    assert "has no head 'sentiment'; its heads are: emotion" in report.skipped["tweets-sentiment"]
    with pytest.raises(ModelPackageError, match="no head 'sentiment'"):
        evaluate(classifier, examples.of("tweets-sentiment"), skip=True)


def test_an_evaluation_without_rows_is_an_error(classifier: OnnxClassifier, examples: Examples) -> None:
    with pytest.raises(TrainingError, match="no posts"):
        evaluate(classifier, examples.take([]))


def test_texts_of_a_users_file(tmp_path: Path, classifier: OnnxClassifier) -> None:
    file = tmp_path / "mine.tsv"
    file.write_bytes("\ufeffgood\tpositive\r\n\ngroß\tgroß\tnegative\n".encode())
    texts, question = read_labelled(file, SENTIMENT)
    assert texts == ["good", "groß\tgroß"]
    report = ask(classifier, texts, [question], split="mine.tsv")
    (score,) = report.scores
    assert (score.name, score.head, score.labels, score.accuracy) == ("mine", "sentiment", SENTIMENT.labels, 0.5)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"good\tpositive\nno tab\n", r"mine\.tsv, line 2: not text<TAB>label: 'no tab'"),
        (
            b"good\tgreat\n",
            "line 1: head 'sentiment' has no label 'great'; its labels are: negative, neutral",
        ),
        (b"\n\n", "contains no texts"),
        (b"\xff\tpositive\n", "is not UTF-8"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "mine.tsv"
    file.write_bytes(content)
    with pytest.raises(TrainingError, match=problem):
        read_labelled(file, SENTIMENT)


def test_evaluation_needs_no_library_of_training() -> None:
    code = (
        "import sys; import models.training.card, models.training.metrics, streams.cli.evaluate;"
        "sys.exit(', '.join({'torch', 'sklearn', 'onnx', 'matplotlib', 'transformers'} & sys.modules.keys()) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_documentation_has_the_mapping() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| ([a-z, ]+) \| (\w+|-) \|$", text, re.MULTILINE)
    told = {fine: (emotion, tone) for emotion, labels, tone in rows for fine in labels.split(", ")}
    assert told == {fine: (emotion, sentiment_of(fine) or "-") for fine, emotion in GO_EMOTIONS.items()}


def test_training_and_evaluation_compute_the_same_figures(classifier: OnnxClassifier, examples: Examples) -> None:
    """Both compute the figure of the same rows, training from logits and the evaluation from served probabilities."""
    found = classifier.classify(examples.texts).probabilities
    columns = [EMOTION.labels.index(label) for label in EMOTIONS]
    logits = {"emotion": np.log(found["emotion"][:, columns]), "sentiment": np.log(found["sentiment"])}
    report = evaluate(classifier, examples)
    judged = headline(logits, examples)
    assert judged.keys() == set(SET_NAMES)
    assert judged == pytest.approx({score.name: score.headline[1] for score in report.scores if score.name in judged})


def test_every_question_has_a_headline_figure(examples: Examples) -> None:
    assert {question.name for question in questions(examples)} == scores.HEADLINE.keys()
    assert set(scores.HEADLINE.values()) <= scores.FIGURES.keys()
    assert scores.FIGURES.keys() == TITLES.keys()
