"""A rewritten network gives the same answers as the original, and has none of the slow operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models.training.kernels import MICROSOFT, rewrite

FEATURES = 16
SHAPE = ["batch", "tokens", FEATURES]
RANDOM = np.random.default_rng(5)
HIDDEN, SKIP = (RANDOM.normal(0.5, 2.0, (3, 7, FEATURES)).astype(np.float32) for _ in range(2))
INPUTS = {"hidden": HIDDEN, "skip": SKIP}

WEIGHTS = {
    "norm.scale": RANDOM.normal(1.0, 0.1, FEATURES).astype(np.float32),
    "norm.shift": RANDOM.normal(0.0, 0.1, FEATURES).astype(np.float32),
    "one": np.float32(0.5),
    "bias": RANDOM.normal(0.0, 0.5, FEATURES).astype(np.float32),
    "matrix": RANDOM.integers(-64, 64, (FEATURES, FEATURES)).astype(np.int8),
    "matrix.scale": RANDOM.uniform(0.001, 0.01, FEATURES).astype(np.float32),
    "matrix.zero": np.zeros(FEATURES, np.int8),
    "hidden.scale": np.float32(0.05),
    "hidden.zero": np.uint8(110),
}


def norm(hidden: str, *bias: str, outputs: tuple[str, ...] = ("out",)) -> NodeProto:
    inputs = [hidden, "skip", "norm.scale", "norm.shift", *bias]
    return helper.make_node("SkipLayerNormalization", inputs, outputs, domain=MICROSOFT, epsilon=1e-12)


def product(out: str = "out") -> list[NodeProto]:
    """Returns the operators that the quantiser makes for a product with constant scales."""
    return [
        helper.make_node("QuantizeLinear", ["hidden", "hidden.scale", "hidden.zero"], ["integers"]),
        helper.make_node("Mul", ["hidden.scale", "matrix.scale"], ["scales"]),
        helper.make_node("MatMulInteger", ["integers", "matrix", "hidden.zero", "matrix.zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "scales"], [out]),
    ]


def gelu(hidden: str) -> NodeProto:
    return helper.make_node("BiasGelu", [hidden, "bias"], ["out"], domain=MICROSOFT)


def write(file: Path, nodes: list[NodeProto], *outputs: str, microsoft: bool = True) -> None:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in INPUTS],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in outputs or ("out",)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in WEIGHTS.items() if name in used],
    )
    domains = ["", MICROSOFT] if microsoft else [""]
    opsets = [helper.make_opsetid(domain, 1 if domain else 17) for domain in domains]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(file))


def answers(file: Path) -> list[NDArray[np.float32]]:
    # ONNX Runtime must not optimise the graph, because the operators in the file are tested.
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run(None, INPUTS)]


def operators(file: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(file)).graph.node)


@pytest.mark.parametrize(
    ("nodes", "found", "left"),
    [
        pytest.param([norm("hidden")], (0, 1), {"InstanceNormalization": 1, "Add": 2}, id="norm"),
        pytest.param([norm("hidden", "bias")], (0, 1), {"InstanceNormalization": 1, "Add": 3}, id="norm with bias"),
        pytest.param(product(), (1, 0), {"MatMulIntegerToFloat": 1}, id="product"),
        pytest.param([*product("p"), gelu("p")], (1, 0), {"MatMulIntegerToFloat": 1, "Gelu": 1}, id="product, GELU"),
        pytest.param(
            [*product("p"), norm("p", "bias")],
            (1, 1),
            {"MatMulIntegerToFloat": 1, "InstanceNormalization": 1, "Add": 2},
            id="product, norm with bias",
        ),
        pytest.param(
            [*product("p"), helper.make_node("Add", ["p", "bias"], ["out"])],
            (1, 0),
            {"MatMulIntegerToFloat": 1, "Add": 0},
            id="product, bias",
        ),
        pytest.param(
            [*product("p"), helper.make_node("Add", ["p", "skip"], ["out"])],
            (1, 0),
            {"MatMulIntegerToFloat": 1, "Add": 1},
            id="product, sum that is no bias",
        ),
        pytest.param(
            [*product("p"), helper.make_node("Add", ["p", "one"], ["out"])],
            (1, 0),
            {"MatMulIntegerToFloat": 1, "Add": 1},
            id="product, one number for all columns",
        ),
    ],
)
def test_same_answers_from_faster_operators(
    tmp_path: Path, nodes: list[NodeProto], found: tuple[int, int], left: dict[str, int]
) -> None:
    file = tmp_path / "network.onnx"
    write(file, nodes)
    (before,) = answers(file)

    counts = rewrite(file)

    assert counts == dict(zip(("MatMulInteger", "SkipLayerNormalization"), found, strict=True))
    after = operators(file)
    assert {name: after[name] for name in left} == left
    assert not after.keys() & {"MatMulInteger", "SkipLayerNormalization", "BiasGelu", "Cast"}
    np.testing.assert_allclose(answers(file)[0], before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        pytest.param([norm("hidden", outputs=("out", "", "", "sum"))], ("out", "sum"), id="the sum is wanted too"),
        pytest.param(product(), ("out", "cast"), id="the integers are wanted too"),
    ],
)
def test_results_that_are_used_twice_are_kept(tmp_path: Path, nodes: list[NodeProto], outputs: tuple[str, ...]) -> None:
    file = tmp_path / "network.onnx"
    write(file, nodes, *outputs)
    before = answers(file)

    assert set(rewrite(file).values()) == {0}

    for now, then in zip(answers(file), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_network_without_microsofts_operators_gets_their_domain(tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    write(file, product(), microsoft=False)

    assert rewrite(file)["MatMulInteger"] == 1

    assert {opset.domain for opset in onnx.load(str(file)).opset_import} == {"", MICROSOFT}
    answers(file)
