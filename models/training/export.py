"""Makes an ONNX file from a trained network: exports, fuses, and quantises to INT8.

Weights are quantised per channel to seven bits (`reduce_range`). With eight bits the sixteen-bit sums of the
multiply-add saturate on processors without VNNI, and the accuracy falls there without an error. Activations are
quantised with one fixed scale per tensor; `models.training.activations` says why.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from torch import nn
from transformers import BertConfig

from models.training.errors import TrainingError
from models.training.network import HEADS

OPSET: Final = 17
PER_CHANNEL: Final = True
REDUCE_RANGE: Final = True


class NotFusedError(TrainingError):
    """ONNX Runtime's optimizer did not fuse every attention. The model would be correct, but a third slower."""


def export(net: nn.Module, file: Path) -> None:
    """Write an FP32 network as ONNX.

    This uses torch's TorchScript exporter. The graphs of the newer exporter are correct, but ONNX Runtime's optimizer
    finds no attention to fuse in them (onnxruntime 1.31, torch 2.15).

    Args:
        net: The network in evaluation mode. It takes ids and mask, and returns the logits of each of `HEADS`.
        file: The file to write. The inputs are `input_ids` and `attention_mask`, int64[batch, tokens], with dynamic
            axes. The outputs have the names of the heads, float32[batch, labels].
    """
    # These ids are in every vocabulary; others would do as well.
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 0]])
    axes = {0: "batch", 1: "tokens"}
    with _quiet(), torch.inference_mode():
        torch.onnx.export(
            net,
            (ids, (ids != 0).long()),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=list(HEADS),
            dynamic_axes={"input_ids": axes, "attention_mask": axes} | {head: {0: "batch"} for head in HEADS},
        )


def fuse(source: Path, target: Path, encoder: BertConfig) -> dict[str, int]:
    """Fuse operators for which ONNX Runtime has one kernel: attention, GELU, layer normalisation with skip connection.

    Returns:
        The number of each fused operator in the result.

    Raises:
        NotFusedError: The attention of some layer was not fused.
    """
    with _quiet():
        model = optimizer.optimize_model(
            str(source),
            model_type="bert",
            num_heads=encoder.num_attention_heads,
            hidden_size=encoder.hidden_size,
            optimization_options=FusionOptions("bert"),
            opt_level=0,
        )
    model.save_model_to_file(str(target))
    fused = {name: count for name, count in model.get_fused_operator_statistics().items() if count}
    if fused.get("Attention", 0) != encoder.num_hidden_layers:
        raise NotFusedError(f"expected {encoder.num_hidden_layers} fused attentions, found {fused}")
    return fused


def quantize(source: Path, target: Path) -> None:
    """Quantise weights to INT8 per channel, and activations per tensor with dynamic scales, for `fix_scales`."""
    model = onnx.load(str(source))
    # Fusing leaves shapes of tensors that no longer exist; the quantiser infers the shapes itself.
    del model.graph.value_info[:]
    with _quiet():
        quantize_dynamic(
            model,
            target,
            per_channel=PER_CHANNEL,
            reduce_range=REDUCE_RANGE,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings of the tracer, and the messages that the tools log on the root logger."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
