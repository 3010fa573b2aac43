"""The network of teachers and student: a BERT encoder, the mean over the tokens, and one linear layer per head."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer

from models.training.labels import EMOTIONS, SENTIMENTS

HEADS: Mapping[str, int] = {"emotion": len(EMOTIONS), "sentiment": len(SENTIMENTS)}
"""The number of labels of each head. The ONNX outputs have the names of the heads."""

WEIGHTS = "weights.pt"
CONFIG = "config.json"
_POOL_EARLY = "pool_early"
"""The key in `CONFIG`, which otherwise has the encoder's shape."""


class ByteDropout(nn.Dropout):  # type: ignore[misc]  # torch ships no types that strict mode accepts
    """Dropout that draws one random byte per element, so that its share is a multiple of 1/256: 0.1 becomes 26/256.

    On a CPU torch's dropout draws a float for each element, one after the other, which takes a third of the time of a
    compiled training step. Here each draw gives eight bytes for eight elements, which makes the step 1.2 times as fast.
    """

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Zero a share `p` of the elements at random, and scale the others so that the mean stays; for any shape."""
        threshold = min(255, round(256 * self.p))
        if not self.training or not threshold:
            return hidden
        draws = torch.randint(-(2**63), 2**63 - 1, ((hidden.numel() + 7) // 8,), dtype=torch.int64)
        kept = draws.view(torch.uint8)[: hidden.numel()].view(hidden.shape) >= threshold
        return hidden * kept * (256 / (256 - threshold))


class PooledLayer(nn.Module):  # type: ignore[misc]
    """The last layer of an encoder, computed for one vector: the mean of the tokens attends to all tokens.

    Only the mean of the layer's results is needed, so the mean is taken before the layer. Keys and values are still
    computed for every token. The rest, five sixths of the work, is computed for one vector.
    """

    def __init__(self, layer: BertLayer) -> None:
        """Use a layer with its weights."""
        super().__init__()
        self.layer = layer

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the layer.

        Args:
            hidden: float32[batch, tokens, hidden], the result of the previous layer.
            mask: int64[batch, tokens], 1 for a token and 0 for padding.

        Returns:
            float32[batch, hidden].
        """
        attention = self.layer.attention.self
        mean = mean_over_tokens(hidden, mask).unsqueeze(1)
        # The exporter and the optimizer do not understand len(hidden) or unflatten.
        by_head = (hidden.shape[0], -1, attention.num_attention_heads, attention.attention_head_size)
        query, key, value = (
            projection(source).view(by_head).transpose(1, 2)
            for projection, source in ((attention.query, mean), (attention.key, hidden), (attention.value, hidden))
        )
        scores = query @ key.transpose(-1, -2) * attention.scaling
        scores = scores.masked_fill(mask[:, None, None, :] == 0, torch.finfo(scores.dtype).min)
        context = (attention.dropout(scores.softmax(-1)) @ value).transpose(1, 2).reshape(mean.shape)
        attended = self.layer.attention.output(context, mean)
        answer: torch.Tensor = self.layer.output(self.layer.intermediate(attended), attended).squeeze(1)
        return answer


class EmotionNet(nn.Module):  # type: ignore[misc]  # torch ships no types that strict mode accepts
    """Takes token ids, and returns the logits of every head."""

    def __init__(self, encoder: BertModel, dropout: float = 0.0, *, pool_early: bool = False) -> None:
        """Add the heads to an encoder, and replace the encoder's dropout.

        Args:
            encoder: The encoder, which is changed in place. With `pool_early` its last layer moves to `last`.
            dropout: Share of activations that is zeroed in training.
            pool_early: Whether the mean over the tokens is taken before the last layer instead of after it.
        """
        super().__init__()
        for parent in list(encoder.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Dropout):
                    setattr(parent, name, ByteDropout(dropout))
        self.encoder = encoder
        self.last = PooledLayer(_without_last(encoder)) if pool_early else None
        self.dropout = ByteDropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(encoder.config.hidden_size, n) for name, n in HEADS.items()})

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Classify a padded batch.

        Args:
            input_ids: int64[batch, tokens].
            attention_mask: int64[batch, tokens], 1 for a token and 0 for padding.

        Returns:
            Logits, float32[batch, labels], one tensor for each of `HEADS`, in that order.
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = mean_over_tokens(hidden, attention_mask) if self.last is None else self.last(hidden, attention_mask)
        pooled = self.dropout(pooled)
        return tuple(head(pooled) for head in self.heads.values())


def mean_over_tokens(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns the mean of each text's tokens without padding.

    Args:
        hidden: float[batch, tokens, hidden].
        mask: int64[batch, tokens], 1 for a token and 0 for padding.

    Returns:
        float[batch, hidden].
    """
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def _without_last(encoder: BertModel) -> BertLayer:
    """Remove an encoder's last layer, and return it."""
    *layers, last = encoder.encoder.layer
    encoder.encoder.layer = nn.ModuleList(layers)
    encoder.config.num_hidden_layers = len(layers)
    return last


def with_layers(encoder: BertModel, layers: tuple[int, ...]) -> BertModel:
    """Returns a copy of an encoder with only some of its layers, given by number."""
    config = BertConfig.from_dict(encoder.config.to_dict() | {"num_hidden_layers": len(layers)})
    smaller = untrained(config)
    smaller.embeddings.load_state_dict(encoder.embeddings.state_dict())
    for at, layer in enumerate(layers):
        smaller.encoder.layer[at].load_state_dict(encoder.encoder.layer[layer].state_dict())
    return smaller


def untrained(config: BertConfig) -> BertModel:
    """Returns an encoder of this shape with random weights.

    Its attention is computed by separate operators. On a CPU their backward pass is faster than that of the fused
    kernel, and the ONNX optimizer can fuse them.
    """
    config._attn_implementation = "eager"
    return BertModel(config, add_pooling_layer=False)


def save(net: EmotionNet, folder: Path) -> None:
    """Write the network's weights and its shape."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = net.encoder.config.to_dict()
    if net.last is not None:
        shape |= {_POOL_EARLY: True, "num_hidden_layers": shape["num_hidden_layers"] + 1}
    (folder / CONFIG).write_text(json.dumps(shape, indent=1, default=str), encoding="utf-8")
    # Write under another name and rename, so that a run that is killed meanwhile leaves the previous file.
    partial = folder / f"{WEIGHTS}.partial"
    torch.save(net.state_dict(), partial)
    partial.rename(folder / WEIGHTS)


def load(folder: Path) -> EmotionNet:
    """Read a network that `save` wrote. The network is in evaluation mode.

    Raises:
        OSError: The folder has no network.
    """
    shape = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    pool_early = shape.pop(_POOL_EARLY, False)
    net = EmotionNet(untrained(BertConfig.from_dict(shape)), pool_early=pool_early)
    net.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu"))
    net.eval()
    return net
