"""Makes an ONNX network with DistilBERT's shape and random weights, in INT8.

It has 6 layers of width 768, 12 heads, feed-forward layers of width 3,072 and a vocabulary of 30,522 (Sanh et al.
2019). The graph is that of ONNX Runtime's optimizer for the original, with attention, GELU and layer normalisation
fused. It is quantised by `quantize_dynamic` with its defaults. This is DistilBERT at its fastest, so a model that is
faster than this network is faster than DistilBERT.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

LAYERS: Final = 6
WIDTH: Final = 768
ATTENTION_HEADS: Final = 12
FEED_FORWARD: Final = 3072
VOCABULARY: Final = 30_522
POSITIONS: Final = 512

_OPSET: Final = 17
_EPSILON: Final = 1e-12


def write_int8(file: Path, labels: int) -> None:
    """Write the network. It has inputs `input_ids` and `attention_mask`, int64[batch, tokens], and output `logits`."""
    # The quantiser logs a warning to optimise the graph first, which is already done.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            _model(labels),
            file,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
        )
    finally:
        logging.disable(logging.NOTSET)


def _model(labels: int) -> onnx.ModelProto:
    graph = _Graph()
    words = graph.node("Gather", [graph.weight("words", VOCABULARY, WIDTH), "input_ids"])
    length = graph.node("Slice", [graph.node("Shape", ["input_ids"]), *graph.integers([1], [2])])
    positions = graph.node(
        "Slice", [graph.weight("positions", POSITIONS, WIDTH), *graph.integers([0]), length, *graph.integers([0])]
    )
    hidden = graph.node(
        "LayerNormalization", [graph.node("Add", [words, positions]), *graph.norm("embeddings")], epsilon=_EPSILON
    )
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.INT32)
    for layer in range(LAYERS):
        hidden = graph.layer(f"layer{layer}", hidden, mask)
    first = graph.node("Gather", [hidden, graph.scalar(0)], axis=1)
    pooled = graph.node("Relu", [graph.linear("pre_classifier", first, WIDTH, WIDTH)])
    graph.linear("classifier", pooled, WIDTH, labels, output="logits")
    kind = TensorProto.INT64
    inputs = [helper.make_tensor_value_info(n, kind, ["batch", "tokens"]) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])]
    return helper.make_model(
        helper.make_graph(graph.nodes, "distilbert", inputs, outputs, graph.tensors),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )


class _Graph:
    """Collects nodes and weights. Each method returns the name of the output or tensor that it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def layer(self, name: str, hidden: str, mask: str) -> str:
        weight = self.weight(f"{name}.qkv", WIDTH, 3 * WIDTH)
        attended = self.node(
            "Attention",
            [hidden, weight, self.bias(f"{name}.qkv", 3 * WIDTH), mask],
            domain="com.microsoft",
            num_heads=ATTENTION_HEADS,
        )
        hidden = self._skip(f"{name}.out", attended, hidden, WIDTH)
        wide = self.node("MatMul", [hidden, self.weight(f"{name}.up", WIDTH, FEED_FORWARD)])
        wide = self.node("BiasGelu", [wide, self.bias(f"{name}.up", FEED_FORWARD)], domain="com.microsoft")
        return self._skip(f"{name}.down", wide, hidden, FEED_FORWARD)

    def _skip(self, name: str, values: str, skipped: str, width: int) -> str:
        """Add a linear layer to the model's width, the residual connection from `skipped`, and the normalisation."""
        projected = self.node("MatMul", [values, self.weight(name, width, WIDTH)])
        inputs = [projected, skipped, *self.norm(name), self.bias(name, WIDTH)]
        return self.node("SkipLayerNormalization", inputs, domain="com.microsoft", epsilon=_EPSILON)

    def linear(self, name: str, values: str, width: int, to: int, output: str | None = None) -> str:
        product = self.node("MatMul", [values, self.weight(name, width, to)])
        return self.node("Add", [product, self.bias(name, to)], output=output)

    def node(self, kind: str, inputs: Sequence[str], *, output: str | None = None, **attributes: object) -> str:
        made = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [made], name=made, **attributes))
        return made

    def weight(self, name: str, *shape: int) -> str:
        return self._tensor(f"{name}.weight", self._random.normal(0, 0.02, shape).astype(np.float32))

    def bias(self, name: str, width: int) -> str:
        return self._tensor(f"{name}.bias", np.zeros(width, np.float32))

    def norm(self, name: str) -> list[str]:
        scale = self._tensor(f"{name}.scale", np.ones(WIDTH, np.float32))
        return [scale, self._tensor(f"{name}.shift", np.zeros(WIDTH, np.float32))]

    def integers(self, *values: list[int]) -> list[str]:
        return [self._tensor(f"integers_{len(self.tensors)}", np.array(value, np.int64)) for value in values]

    def scalar(self, value: int) -> str:
        return self._tensor(f"scalar_{len(self.tensors)}", np.array(value, np.int64))

    def _tensor(self, name: str, values: NDArray[Any]) -> str:
        self.tensors.append(numpy_helper.from_array(values, name))
        return name
