"""Makes ONNX files byte by byte, so that tests need neither the library `onnx` nor model files in the repository.

It writes only the fields of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto that a bag of words needs. Comments
give some of their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FLOAT, INT32, INT64, STRING = 1, 6, 7, 8
_OPSET = 17
_IR_VERSION = 8


def bag_of_words(
    heads: Mapping[str, NDArray[np.float32]],
    *,
    inputs: Mapping[str, tuple[int, Sequence[str]]] | None = None,
    output_type: int = FLOAT,
) -> bytes:
    """Returns a network whose logits are the sums of the weights of a text's tokens. Masked tokens are left out.

    Args:
        heads: The weights by name of the output, as float32[vocabulary, labels].
        inputs: Element type and dimensions by name of the input; None for `input_ids` and `attention_mask`. Without
            `attention_mask`, padding counts like any token.
        output_type: Element type of the outputs.
    """
    usual = dict.fromkeys(("input_ids", "attention_mask"), (INT64, ("batch", "tokens")))
    declared = usual if inputs is None else dict(inputs)
    nodes: list[bytes] = []
    tensors: list[bytes] = [_tensor("last", np.array([-1], np.int64)), _tensor("tokens", np.array([1], np.int64))]
    nodes.append(_node("Cast", ["input_ids"], ["ids"], to=INT64))
    masked = "attention_mask" in declared
    if masked:
        nodes.append(_node("Cast", ["attention_mask"], ["mask"], to=FLOAT))
        nodes.append(_node("Unsqueeze", ["mask", "last"], ["mask_3d"]))
    for name, weights in heads.items():
        tensors.append(_tensor(f"{name}_weights", weights))
        nodes.append(_node("Gather", [f"{name}_weights", "ids"], [f"{name}_all"], axis=0))
        counted = f"{name}_all"
        if masked:
            nodes.append(_node("Mul", [counted, "mask_3d"], [f"{name}_counted"]))
            counted = f"{name}_counted"
        nodes.append(_node("ReduceSum", [counted, "tokens"], [f"{name}_sum"], keepdims=0))
        nodes.append(_node("Cast", [f"{name}_sum"], [name], to=output_type))
    outputs = [_value(name, output_type, ("batch", weights.shape[1])) for name, weights in heads.items()]
    return _model(nodes, tensors, [_value(name, *kind) for name, kind in declared.items()], outputs)


def _model(nodes: list[bytes], tensors: list[bytes], inputs: list[bytes], outputs: list[bytes]) -> bytes:
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"test")
    graph += b"".join(_field(5, tensor) for tensor in tensors)
    graph += b"".join(_field(11, value) for value in inputs) + b"".join(_field(12, value) for value in outputs)
    return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, _field(2, _OPSET))


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int) -> bytes:
    content = b"".join(_field(1, name) for name in inputs) + b"".join(_field(2, name) for name in outputs)
    content += _field(4, operator)
    for name, value in attributes.items():
        content += _field(5, _field(1, name) + _field(3, value) + _field(20, 2))  # type INT
    return content


def _tensor(name: str, values: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    kind = FLOAT if values.dtype == np.float32 else INT64
    content = b"".join(_field(1, size) for size in values.shape) + _field(2, kind)
    return content + _field(8, name) + _field(9, values.tobytes())  # raw_data


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size) if isinstance(size, int) else _field(2, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, sizes)))


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)
