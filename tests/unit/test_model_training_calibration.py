"""Scaling, the thresholds of a cascade, the average of teachers, and the training configuration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.calibrate import calibrated_loss, choose_thresholds, mixed
from models.training.config import DEFAULT_CONFIG, read_config
from models.training.data import NO_TARGET, SET_NAMES, Examples
from models.training.ensemble import TeacherAnswers, combine, softmax, unsmoothed
from models.training.errors import TrainingError
from models.training.labels import EMOTIONS, SENTIMENTS
from models.training.metrics import headline
from models.training.scaling import fit_scaling


def examples(rows: int, seed: int = 0) -> Examples:
    """Returns rows of all four data sets in turn, with random labels of their data set."""
    rng = np.random.default_rng(seed)
    source = np.arange(rows) % len(SET_NAMES)
    known = np.array([[True] * 6 + [False] * 2, [True] * 8, [True] * 3 + [False] * 5, [False] * 8])[source]
    emotion = np.zeros((rows, len(EMOTIONS)), np.float32)
    for row in range(rows):
        if known[row].any():
            emotion[row, rng.integers(known[row].sum())] = 1
    sentiment = np.where(source == 3, rng.integers(0, 3, rows), NO_TARGET)
    return Examples(tuple(map(str, range(rows))), emotion, known, sentiment, source)


def answers(data: Examples, right: float, seed: int, sharpness: float = 6.0) -> dict[str, np.ndarray]:
    """Returns the logits of a model that is right about the given share of rows, and more sure of these."""
    rng = np.random.default_rng(seed)
    truth = {"emotion": data.emotion.argmax(1), "sentiment": np.maximum(data.sentiment, 0)}
    found = {}
    for head, width in (("emotion", len(EMOTIONS)), ("sentiment", len(SENTIMENTS))):
        logits = rng.normal(0, 0.3, (len(data), width)).astype(np.float32)
        correct = rng.random(len(data)) < right
        label = np.where(correct, truth[head], rng.integers(0, 3, len(data)))
        logits[np.arange(len(data)), label] += np.where(correct, sharpness, 1.5) * rng.random(len(data))
        found[head] = logits
    return found


BIASES = {"emotion": (0.5, -0.5, 0.0, 0.0, 0.3, -0.3, 0.8, -0.8), "sentiment": (0.4, 0.0, -0.4)}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_and_biases_of_distorted_logits_are_found(temperature):
    rng = np.random.default_rng(3)
    data = examples(8_000)
    honest = {"emotion": rng.normal(0, 2, (8_000, 8)), "sentiment": rng.normal(0, 2, (8_000, 3))}
    # The labels are drawn from the model's own probabilities, so it is calibrated by construction.
    masked = np.where(data.emotion_mask, honest["emotion"], -1e9)
    drawn = (masked + rng.gumbel(size=masked.shape)).argmax(1)
    data.emotion[:] = np.eye(8, dtype=np.float32)[drawn] * data.emotion_mask
    data.sentiment[data.source == 3] = (honest["sentiment"] + rng.gumbel(size=(8_000, 3))).argmax(1)[data.source == 3]
    spoilt = {head: ((v - BIASES[head]) * temperature).astype(np.float32) for head, v in honest.items()}
    found = fit_scaling(spoilt, data, ridge=0.001)
    for head, biases in BIASES.items():
        assert found.temperatures[head] == pytest.approx(temperature, rel=0.1)
        # Adding the same number to all labels changes nothing.
        assert np.array(found.biases[head]) - np.mean(found.biases[head]) == pytest.approx(np.array(biases), abs=0.2)
    assert not found.weights
    held = fit_scaling(spoilt, data, ridge=0.1)
    for head in BIASES:
        assert np.ptp(held.biases[head]) < np.ptp(found.biases[head]) - 0.1


@settings(max_examples=10, deadline=None)
# Not for a model that is almost never wrong: only the ridge and the bounds keep its temperature above 0.
@given(st.floats(0.3, 0.8), st.integers(0, 100), st.lists(st.floats(-0.2, 0.2), min_size=5, max_size=5))
def test_no_scaling_nearby_is_more_likely(right, seed, nudge):
    data = examples(400, seed)
    logits = answers(data, right, seed)
    found = fit_scaling(logits, data).of(logits)["sentiment"]
    rows = np.flatnonzero(data.source == 3)

    def loss(values: np.ndarray) -> float:
        return -np.log(softmax(values)[np.arange(len(rows)), data.sentiment[rows]]).mean()

    moved = found[rows] * np.exp(nudge[0]) + np.array(nudge[1:4])
    # Because of the ridge the loss is not exactly the smallest.
    assert loss(found[rows]) <= loss(moved) + 0.01


def test_a_head_without_labels_is_not_scaled():
    data = examples(40)
    specialist = data.of("emotion")
    assert fit_scaling(answers(specialist, 0.9, 1), specialist).temperatures.keys() == {"emotion"}
    two = data.of("emotion", "tweets-sentiment")
    found = fit_scaling(answers(two, 0.9, 1), two)
    assert found.temperatures.keys() == found.biases.keys() == {"emotion", "sentiment"}
    # No row has the labels disgust and neutral.
    assert found.biases["emotion"][6:] == (0, 0)


def test_the_score_of_an_epoch_does_not_depend_on_its_sureness():
    data = examples(400)
    good, bad = answers(data, 0.9, 1), answers(data, 0.6, 1)
    assert calibrated_loss(good, data) < calibrated_loss(bad, data)
    surer = {head: 2 * values for head, values in good.items()}
    assert calibrated_loss(surer, data) == pytest.approx(calibrated_loss(good, data), rel=1e-3)
    nothing = {head: np.zeros_like(values) for head, values in good.items()}
    assert calibrated_loss(nothing, data) == pytest.approx((np.mean([np.log(6), np.log(8), np.log(3)]) + np.log(3)) / 2)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.3, 1), st.floats(0.3, 1), st.integers(0, 100))
def test_a_pool_is_no_worse_than_the_last_tier_alone(first_right, last_right, seed):
    data = examples(200, seed).of("tweets-sentiment")
    first, last = answers(data, first_right, seed), answers(data, last_right, seed + 1)
    alone, pool = fit_scaling(last, data), fit_scaling(last, data, first)
    assert pool.weights["sentiment"] >= 0

    def loss(logits: dict[str, np.ndarray]) -> float:
        return -np.log(softmax(logits["sentiment"])[np.arange(len(data)), data.sentiment]).mean()

    assert loss(pool.of(last, first)) <= loss(alone.of(last)) + 0.01


def test_a_pool_of_tiers_with_different_errors_is_better_than_the_last_tier():
    data = examples(600)
    first, last = answers(data, 0.7, 1), answers(data, 0.7, 2)
    pool = fit_scaling(last, data, first)
    assert all(weight > 0.1 for weight in pool.weights.values())
    assert calibrated_loss(pool.of(last, first), data) < calibrated_loss(last, data) - 0.05


def test_a_first_tier_of_random_answers_has_almost_no_weight():
    data = examples(400)
    last = answers(data, 0.9, 1)
    rng = np.random.default_rng(1)
    noise = {head: rng.normal(0, 3, values.shape).astype(np.float32) for head, values in last.items()}
    assert max(fit_scaling(last, data, noise).weights.values()) <= 0.1


def test_a_first_tier_with_opposite_answers_has_no_weight():
    data = examples(400)
    last = answers(data, 0.9, 1)
    opposite = {head: -values for head, values in last.items()}
    found = fit_scaling(last, data, opposite)
    assert set(found.weights.values()) == {0.0}
    assert found.temperatures == fit_scaling(last, data).temperatures


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 1), st.floats(0.3, 1), st.floats(0, 0.1), st.floats(0, 0.2), st.integers(0, 100))
def test_a_gate_keeps_its_bounds(first_right, last_right, max_loss, max_disagreement, seed):
    data = examples(400, seed)
    first, last = answers(data, first_right, seed), answers(data, last_right, seed + 1)
    chosen = choose_thresholds(first, last, data, max_loss=max_loss, max_disagreement=max_disagreement)
    if chosen is None:
        return
    passed = np.ones(len(data), bool)
    for head, threshold in chosen.thresholds.items():
        passed &= softmax(first[head]).max(1) >= threshold
    assert passed.any()
    for head in first:
        differs = first[head][passed].argmax(1) != last[head][passed].argmax(1)
        assert differs.mean() <= max_disagreement
    served, alone = headline(mixed(first, last, passed), data), headline(last, data)
    assert all(served[name] >= alone[name] - max_loss for name in alone)


def test_a_first_tier_with_the_same_answers_answers_everything():
    data = examples(200)
    logits = answers(data, 0.9, 1)
    chosen = choose_thresholds(logits, logits, data, max_loss=0, max_disagreement=0)
    assert chosen is not None
    assert chosen.answered == 1


def test_a_first_tier_with_opposite_answers_is_left_out():
    data = examples(400)
    last = answers(data, 1.0, 1)
    first = {head: -values for head, values in last.items()}
    assert choose_thresholds(first, last, data, max_loss=0, max_disagreement=0) is None


def test_general_teachers_are_averaged_as_probabilities():
    data = examples(40)
    a, b = answers(data, 0.5, 1), answers(data, 0.5, 2)
    both = combine([TeacherAnswers(a, SET_NAMES), TeacherAnswers(b, SET_NAMES)], data)
    for head in both:
        assert softmax(both[head]) == pytest.approx((softmax(a[head]) + softmax(b[head])) / 2, abs=1e-5)
        assert both[head].dtype == np.float32


def test_specialists_alone_decide_among_the_labels_of_their_own_data_set():
    data = examples(40)
    general, special, other = answers(data, 0.5, 1), answers(data, 0.5, 2), answers(data, 0.5, 3)
    alone = combine([TeacherAnswers(general, SET_NAMES)], data)
    both = combine(
        [
            TeacherAnswers(special, ("emotion",)),
            TeacherAnswers(general, SET_NAMES),
            TeacherAnswers(other, ("emotion",)),
        ],
        data,
    )
    own = data.source == SET_NAMES.index("emotion")
    assert both["emotion"][~own] == pytest.approx(alone["emotion"][~own])
    assert both["sentiment"] == pytest.approx(alone["sentiment"])
    before, after = softmax(alone["emotion"][own]), softmax(both["emotion"][own])
    assert after[:, 6:] == pytest.approx(before[:, 6:], abs=1e-5)
    known = softmax(special["emotion"][own][:, :6]), softmax(other["emotion"][own][:, :6])
    assert after[:, :6] / after[:, :6].sum(1, keepdims=True) == pytest.approx(np.mean(known, axis=0), abs=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3])
def test_the_effect_of_label_smoothing_is_removed(smoothing):
    data = examples(40)
    meant = answers(data, 0.5, 1)
    said = {}
    for head, values in meant.items():
        q = softmax(values)
        known = data.emotion_mask.copy() if head == "emotion" else np.ones(q.shape, bool)
        known[~known.any(1)] = True
        share = (q * known).sum(1, keepdims=True)
        smoothed = share * ((1 - smoothing) * q / share + smoothing / known.sum(1, keepdims=True))
        said[head] = np.log(np.where(known, smoothed, q)).astype(np.float32)
    found = unsmoothed(said, data, smoothing)
    for head, values in meant.items():
        assert softmax(found[head]) == pytest.approx(softmax(values), abs=1e-4)


def test_a_probability_below_the_smoothed_minimum_becomes_almost_zero():
    data = examples(4)
    sure = {"emotion": np.zeros((4, 8), np.float32), "sentiment": np.array([[9, 0, 0]] * 4, np.float32)}
    assert softmax(unsmoothed(sure, data, 0.05)["sentiment"])[0] == pytest.approx([1, 0, 0], abs=1e-5)


def test_a_specialist_alone_is_an_error():
    data = examples(8)
    with pytest.raises(ValueError, match="no teacher learns every data set"):
        combine([TeacherAnswers(answers(data, 1, 1), ("emotion",))], data)


def test_the_bundled_configuration_is_valid():
    config = read_config(DEFAULT_CONFIG)
    assert config.first_tier is not None
    assert config.student.recipe.distillation > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[package]", "[pakage]"), "package: Field required"),
        (("seed = 17", "seed = 17\ncolour = 1"), "colour: Extra inputs are not permitted"),
        (('name = "emotion-minilm-l4"', 'name = "Emotion Mini"'), "is not a valid name: use lower-case letters"),
        (
            ("goemotions = 1500", "reddit = 1500"),
            "no data set 'reddit'; the data sets are: emotion, goemotions",
        ),
        (("copies = { emotion = 3 }", "copies = { reddit = 3 }"), "there is no data set 'reddit'"),
        (("copies = { emotion = 3 }", "copies = { emotion = -1 }"), "augmentation.copies.emotion: Input should be"),
        (("epochs = 4", "epochs = 0"), "teachers.0.recipe.epochs: Input should be greater than or equal to 1"),
        (("goemotions = 0.25", "reddit = 0.25"), "there is no data set 'reddit'"),
        (("goemotions = 0.25", "goemotions = 25"), "balance.goemotions: Input should be less than or equal to 1"),
        (('name = "bge-small"', 'name = "bge-small"\nsets = ["emotion"]'), "no teacher learns every data set"),
        (("[student]", '[[teachers]]\nname = "bge-small"\nencoder = "e5-small"\n\n[student]'), "the same name"),
        (("seed = 17", "seed = "), "is not TOML"),
    ],
)
def test_a_mistake_in_the_configuration_is_reported_in_one_line(tmp_path, change, message):
    file = tmp_path / "model.toml"
    text = DEFAULT_CONFIG.read_text(encoding="utf-8")
    assert change[0] in text
    file.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"model\.toml") as error:
        read_config(file)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_configuration_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "model.toml").write_bytes(b"\xff")
    with pytest.raises(TrainingError, match=r"model\.toml is not UTF-8"):
        read_config(tmp_path / "model.toml")


def test_the_general_teacher_is_the_first_that_learns_every_data_set():
    config = read_config(DEFAULT_CONFIG)
    assert not config.teachers[0].general
    assert config.general_teacher.name == "bge-small"
