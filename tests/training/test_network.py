"""The trained network: its dropout, which is faster on a CPU than torch's, and its last layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn
from transformers import BertConfig

from models.training import export, network
from models.training.network import HEADS, ByteDropout, EmotionNet, untrained

SHAPE = (40, 31, 33)  # not a multiple of eight elements


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_dropout_zeroes_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(1)
    ones = torch.ones(SHAPE)
    dropped = ByteDropout(share)(ones)
    of_256 = round(256 * share)
    assert torch.unique(dropped).tolist() == pytest.approx([0.0, 256 / (256 - of_256)])
    # The tolerance is five standard deviations.
    tolerance = 5 * (share * (1 - share) / ones.numel()) ** 0.5
    assert float((dropped == 0).float().mean()) == pytest.approx(of_256 / 256, abs=tolerance)
    assert float(dropped.mean()) == pytest.approx(1, abs=2 * tolerance)


def test_dropout_is_independent_along_every_dimension() -> None:
    torch.manual_seed(2)
    kept = (ByteDropout(0.5)(torch.ones(64, 64, 64)) != 0).float() - 0.5
    for dimension in range(3):
        neighbours = (kept * kept.roll(1, dimension)).mean() / 0.25
        assert abs(float(neighbours)) < 5 / kept.numel() ** 0.5


def test_the_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(3)
    ones = torch.ones(SHAPE, requires_grad=True)
    dropped = ByteDropout(0.1)(ones)
    dropped.sum().backward()  # type: ignore[no-untyped-call]
    assert ones.grad is not None
    assert torch.equal(ones.grad, dropped.detach())


def test_the_seed_decides_and_each_draw_differs() -> None:
    dropout, ones = ByteDropout(0.1), torch.ones(SHAPE)
    torch.manual_seed(4)
    first, second = dropout(ones), dropout(ones)
    torch.manual_seed(4)
    assert torch.equal(first, dropout(ones))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("share", "training"), [(0.0, True), (0.001, True), (0.5, False)])
def test_nothing_is_dropped(share: float, training: bool) -> None:
    ones = torch.ones(SHAPE)
    assert torch.equal(ByteDropout(share).train(training)(ones), ones)


def test_even_a_share_of_one_leaves_finite_numbers() -> None:
    assert torch.isfinite(ByteDropout(1.0)(torch.ones(SHAPE))).all()


def test_the_networks_own_dropout_is_replaced_everywhere() -> None:
    for pool_early in (False, True):
        net = EmotionNet(untrained(shape()), dropout=0.25, pool_early=pool_early)
        found = [one for one in net.modules() if isinstance(one, nn.Dropout)]
        # One of the embeddings, three of each layer, and one of the pooled vector.
        assert [(type(one), one.p) for one in found] == [(ByteDropout, 0.25)] * 8


# The last layer


def shape(layers: int = 2) -> BertConfig:
    return BertConfig(
        vocab_size=20, hidden_size=64, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=128
    )


def made(*, pool_early: bool, layers: int = 2) -> EmotionNet:
    torch.manual_seed(5)
    net = EmotionNet(untrained(shape(layers)), pool_early=pool_early).eval()
    for head in net.heads.values():
        nn.init.normal_(head.weight)
    return net


def logits(net: EmotionNet, *rows: list[int], padding: int = 0) -> torch.Tensor:
    longest = max(map(len, rows)) + padding
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    with torch.inference_mode():
        return torch.cat(net(ids, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])), dim=1)


def test_the_mean_of_one_token_is_the_token() -> None:
    early, late = made(pool_early=True), made(pool_early=False)
    rows = ([3], [7], [19])
    assert torch.allclose(logits(early, *rows), logits(late, *rows), atol=1e-5)
    longer = ([3, 4, 5], [7, 7, 2])
    assert not torch.allclose(logits(early, *longer), logits(late, *longer), atol=1e-3)


def test_a_mean_that_is_taken_early_sees_no_padding() -> None:
    early = made(pool_early=True)
    alone = logits(early, [3, 4, 5])
    assert torch.allclose(logits(early, [3, 4, 5], padding=9), alone, atol=1e-5)
    assert torch.allclose(logits(early, [3, 4, 5], [2, 9, 4, 6, 8, 1])[:1], alone, atol=1e-5)


def test_every_token_affects_a_mean_that_is_taken_early() -> None:
    early = made(pool_early=True)
    for changed in ([9, 4, 5], [3, 9, 5], [3, 4, 9]):
        assert not torch.allclose(logits(early, changed), logits(early, [3, 4, 5]), atol=1e-3)


@pytest.mark.parametrize(("pool_early", "layers"), [(True, 2), (False, 2), (True, 1), (False, 1)])
def test_a_network_comes_back_as_it_was_saved_and_is_the_same_in_onnx(
    tmp_path: Path, pool_early: bool, layers: int
) -> None:
    net = made(pool_early=pool_early, layers=layers)
    network.save(net, tmp_path)
    back = network.load(tmp_path)
    assert [name for name, _ in back.named_parameters()] == [name for name, _ in net.named_parameters()]
    rows = ([3, 4, 5, 6], [7, 2, 9, 9])
    assert torch.equal(logits(back, *rows), logits(net, *rows))
    plain, fused = tmp_path / "plain.onnx", tmp_path / "fused.onnx"
    export.export(back, plain)
    export.fuse(plain, fused, back.encoder.config)
    session = ort.InferenceSession(str(fused), providers=["CPUExecutionProvider"])
    # The numbers of texts and tokens differ from those of the export.
    for texts in (rows, ([3], [4], [5]), ([2, 3, 4, 5, 6, 7, 8],)):
        ids = np.array(texts, np.int64)
        found = np.concatenate(
            session.run(list(HEADS), {"input_ids": ids, "attention_mask": np.ones_like(ids)}), axis=1
        )
        assert found == pytest.approx(logits(net, *texts).numpy(), abs=1e-4)
