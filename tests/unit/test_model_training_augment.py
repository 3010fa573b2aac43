"""Altered copies of posts: of the given data sets, without labels, and reproducible with a seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.augment import augmented
from models.training.data import NO_TARGET, SET_NAMES, Examples
from models.training.labels import EMOTIONS


def posts(*texts: str, data_set: str = "emotion") -> Examples:
    n = len(texts)
    emotion = np.zeros((n, len(EMOTIONS)), np.float32)
    emotion[:, 0] = 1
    mask = np.zeros((n, len(EMOTIONS)), np.bool_)
    mask[:, :6] = True
    return Examples(texts, emotion, mask, np.ones(n, np.int64), np.full(n, SET_NAMES.index(data_set), np.int64))


def test_the_rows_stay_and_the_copies_follow_without_labels():
    data = posts("i feel happy today", "so sad at home")
    found = augmented(data, {"emotion": 3, "goemotions": 2}, 0.3, 17)
    assert len(found) == 2 + 3 * 2
    assert found.texts[:2] == data.texts
    assert found.emotion[:2].tolist() == data.emotion.tolist()
    assert not found.emotion[2:].any()
    assert (found.sentiment[2:] == NO_TARGET).all()
    assert (found.emotion_mask == data.emotion_mask[0]).all()
    assert (found.source == data.source[0]).all()


def test_another_data_set_is_not_changed():
    data = posts("no copies of this", data_set="goemotions")
    assert augmented(data, {"emotion": 2}, 0.3, 17).texts == data.texts


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_about_the_given_share_of_words_is_altered(share):
    words = [f"w{i}" for i in range(4000)]
    copy = augmented(posts(" ".join(words)), {"emotion": 1}, share, 3).texts[1].split()
    untouched = len(set(words) & set(copy)) / len(words)
    left_out = 1 - len(copy) / len(words)
    assert left_out == pytest.approx(share / 2, abs=0.03)
    # A word that replaces another one may be the same word.
    assert 1 - share - 0.03 <= untouched <= 1 - share / 2 + 0.03
    if not share:
        assert copy == words


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.floats(0, 1), st.integers(0, 99))
def test_a_post_with_words_never_becomes_one_without(texts, share, seed):
    data = posts(*texts)
    found = augmented(data, {"emotion": 2}, share, seed)
    assert augmented(data, {"emotion": 2}, share, seed).texts == found.texts
    for i, text in enumerate(found.texts[len(texts) :]):
        assert bool(text) == bool(texts[i % len(texts)].split())
