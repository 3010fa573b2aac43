"""The loss, compared with numbers that were computed by hand."""

import numpy as np
import pytest
import torch

from models.training.config import Recipe
from models.training.data import NO_TARGET, SET_NAMES, Examples
from models.training.losses import Loss, row_weights, smoothed

PLAIN = Recipe(label_smoothing=0, distillation=0)
EMOTION, GO, _, TWEETS = range(4)


def table(*rows: tuple[int, list[float], list[int], int]) -> Examples:
    """Returns rows, given as (data set, emotion target, known emotions, sentiment)."""
    source, emotion, known, sentiment = zip(*rows, strict=True)
    mask = np.zeros((len(rows), 8), bool)
    for row, labels in enumerate(known):
        mask[row, labels] = True
    padded = np.array([[*target, *[0.0] * (8 - len(target))] for target in emotion], np.float32)
    return Examples(("x",) * len(rows), padded, mask, np.array(sentiment), np.array(source))


def logits(emotion: list[list[float]], sentiment: list[list[float]]) -> dict[str, torch.Tensor]:
    padded = [[*row, *[0.0] * (8 - len(row))] for row in emotion]
    return {"emotion": torch.tensor(padded), "sentiment": torch.tensor(sentiment)}


def test_the_softmax_runs_over_the_labels_that_the_data_set_knows():
    data = table((EMOTION, [1.0], [0, 1], NO_TARGET))
    # The third emotion has by far the largest logit, and this data set lacks it.
    loss = Loss(data, PLAIN)(logits([[1.0, 0.0, 50.0]], [[9.0, 0.0, 0.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-1)))


def test_a_text_without_any_label_has_no_loss_and_no_gradient():
    data = table((TWEETS, [], [], NO_TARGET))
    given = logits([[3.0, 1.0]], [[1.0, 2.0, 3.0]])
    for values in given.values():
        values.requires_grad_()
    loss = Loss(data, Recipe(label_smoothing=0.1))(given, torch.tensor([0]))
    assert loss.item() == 0
    loss.backward()
    assert all(not values.grad.any() for values in given.values())


def test_both_heads_add_up_and_the_mean_is_over_the_batch():
    data = table((GO, [0.5, 0.5], list(range(8)), 2), (TWEETS, [], [], 0))
    given = logits([[0.0] * 8, [5.0]], [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    expected = (np.log(8) + np.log(3) + np.log(1 + 2 * np.exp(-2))) / 2
    assert Loss(data, PLAIN)(given, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-5)


def test_rows_are_picked_by_their_place_in_the_table():
    data = table((EMOTION, [1.0], [0, 1], NO_TARGET), (EMOTION, [0.0, 1.0], [0, 1], NO_TARGET))
    loss = Loss(data, PLAIN)(logits([[0.0, 4.0]], [[0.0] * 3]), torch.tensor([1]))
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-4)), rel=1e-5)


def test_smoothing_spreads_over_the_known_labels_only():
    target = np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    mask = np.array([[True, True, False, False], [True] * 4])
    assert smoothed(target, mask, 0.2).tolist() == pytest.approx(np.array([[0.9, 0.1, 0, 0], [0, 0, 0, 0]]))


def test_rare_labels_weigh_more_within_their_data_set_and_the_mean_stays_one():
    target = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 0]]
    source = np.array([GO] * 4 + [TWEETS] * 2)
    weights = row_weights(target, source, {SET_NAMES[GO]: 1.0})
    # The shares are 3/4 and 1/4. With a balance of one, both labels have the same total weight.
    assert weights[:4] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert weights[4:] == pytest.approx([1, 1])
    half = row_weights(target, source, {SET_NAMES[GO]: 0.5})
    assert half[3] / half[0] == pytest.approx(3**0.5)
    assert half[:4].mean() == pytest.approx(1)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_is_the_divergence_from_the_teacher(temperature):
    data = table((GO, [1.0], list(range(8)), NO_TARGET))
    teacher = {"emotion": np.array([[2.0, 0, 0, 0, 0, 0, 0, 0]], np.float32), "sentiment": np.zeros((1, 3), np.float32)}
    recipe = Recipe(label_smoothing=0, distillation=0.25, distillation_temperature=temperature)
    given = logits([[0.0] * 8], [[0.0] * 3])
    p = np.exp(teacher["emotion"][0] / temperature)
    p /= p.sum()
    divergence = (p * (np.log(p) - np.log(1 / 8))).sum() * temperature**2
    expected = 0.75 * np.log(8) + 0.25 * divergence
    assert Loss(data, recipe, teacher)(given, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-4)
    assert Loss(data, recipe)(given, torch.tensor([0])).item() == pytest.approx(np.log(8), rel=1e-5)


def test_a_student_that_agrees_with_its_teacher_has_no_gradient():
    data = table((TWEETS, [], [], NO_TARGET))
    values = {"emotion": np.arange(8, dtype=np.float32)[None], "sentiment": np.ones((1, 3), np.float32)}
    recipe = Recipe(distillation=1.0, distillation_temperature=3)
    given = {head: torch.tensor(v) for head, v in values.items()}
    assert Loss(data, recipe, values)(given, torch.tensor([0])).item() == pytest.approx(0, abs=1e-6)
