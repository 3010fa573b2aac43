"""From a trained network to an ONNX file: export, fuse, quantise to INT8.

Weights are quantised per channel to seven bits (`reduce_range`): on processors without VNNI the eight-bit
multiply-add saturates its sixteen-bit sums, which silently costs accuracy on exactly the machines nobody measured.
Activations are quantised with one fixed scale for each tensor; `models.training.activations` says why.
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
    """ONNX Runtime's optimizer did not find every attention; the model would be a third slower and still right."""


def export(net: nn.Module, file: Path) -> None:
    """Write an FP32 network as ONNX.

    This is torch's TorchScript exporter: the graphs of its successor are correct, but ONNX Runtime's optimizer finds
    no attention in them to fuse (onnxruntime 1.31, torch 2.15).

    Args:
        net: The network, in evaluation mode: ids and mask in, the logits of each of `HEADS` out.
        file: Where to write. Inputs are `input_ids` and `attention_mask`, int64[batch, tokens], both axes dynamic;
            outputs bear the names of the heads, float32[batch, labels].
    """
    # Any ids will do; these are in every vocabulary.
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
    """Replace what ONNX Runtime has one kernel for: attention, GELU, layer normalisation with its skip connection.

    Returns:
        How often each fused operator stands in the result.

    Raises:
        NotFusedError: Not every layer's attention was fused.
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
    """Quantise weights to INT8 per channel, and activations dynamically per tensor, which `fix_scales` then fixes."""
    model = onnx.load(str(source))
    # Fusing leaves the shapes of tensors that are gone; the quantiser infers its own.
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
    """Hold back the tools' own chatter: tracer warnings, and advice logged on the root logger."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
