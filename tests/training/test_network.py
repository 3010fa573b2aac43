"""The network that is trained: its dropout, which torch's own is too slow for on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig

from models.training.network import ByteDropout, EmotionNet, untrained

SHAPE = (40, 31, 33)  # not a multiple of eight elements


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_dropout_zeroes_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(1)
    ones = torch.ones(SHAPE)
    dropped = ByteDropout(share)(ones)
    of_256 = round(256 * share)
    assert torch.unique(dropped).tolist() == pytest.approx([0.0, 256 / (256 - of_256)])
    # Five standard deviations.
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
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    found = [one for one in EmotionNet(untrained(config), dropout=0.25).modules() if isinstance(one, nn.Dropout)]
    # The embeddings', three of each layer, and the pooled vector's.
    assert [(type(one), one.p) for one in found] == [(ByteDropout, 0.25)] * 8
