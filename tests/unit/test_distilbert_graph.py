"""The DistilBERT-shaped network: built as for the benchmark, but narrow and with fewer layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tokenizers import Tokenizer

from benchmarks import distilbert, distilbert_graph
from models.package.folder import bundled_package_path

NARROW = {"LAYERS": 2, "WIDTH": 24, "ATTENTION_HEADS": 2, "FEED_FORWARD": 48, "POSITIONS": 32}


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in NARROW.items():
        monkeypatch.setattr(distilbert_graph, name, value)
    file = tmp_path / "bench" / "distilbert-int8.onnx"
    distilbert.build(file)
    return file


def test_kernels_are_fused_and_in_int8(network: Path) -> None:
    kinds = [node.op_type for node in onnx.load(network).graph.node]
    layers = NARROW["LAYERS"]
    assert kinds.count("QAttention") == layers
    assert kinds.count("BiasGelu") == layers
    assert kinds.count("SkipLayerNormalization") == 2 * layers
    # Three for each layer: two of the feed-forward part and the attention's output. Two for the classifier.
    assert kinds.count("MatMulInteger") == 3 * layers + 2
    assert not {"MatMul", "Attention"} & set(kinds)


def test_padding_does_not_change_the_answer(network: Path) -> None:
    session = onnxruntime.InferenceSession(network)
    ids = np.array([[5, 6, 7]])
    (alone,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    padded = np.array([[5, 6, 7, 0, 0], [8, 9, 10, 11, 12]])
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    (both,) = session.run(None, {"input_ids": padded, "attention_mask": mask})
    assert both.shape == (2, len(distilbert.LABELS))
    assert both[0] == pytest.approx(alone[0], abs=2e-3)


@pytest.mark.parametrize("by_length", [False, True])
def test_it_is_built_once_and_answers(network: Path, by_length: bool) -> None:
    built = network.stat().st_mtime_ns
    distilbert.build(network)
    assert network.stat().st_mtime_ns == built
    tokenizer = Tokenizer.from_file(str(bundled_package_path() / "tokenizer.json"))
    model = distilbert.DistilBert(network, tokenizer, threads=1, max_tokens=16, by_length=by_length)
    texts = ["so happy", "what a terrible day this has been for all of us", "hm"] * 20
    answers = model(texts)
    assert answers.shape == (60,)
    assert [answers[i] == answers[i % 3] for i in range(60)] == [True] * 60
