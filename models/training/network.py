"""The trained network: a BERT-like encoder, mean pooling over the tokens, and one linear layer for each head."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import BertConfig, BertModel

from models.training.labels import EMOTIONS, SENTIMENTS

HEADS: Mapping[str, int] = {"emotion": len(EMOTIONS), "sentiment": len(SENTIMENTS)}
"""The heads by name, and how many labels each has. The ONNX outputs bear the same names."""

WEIGHTS = "weights.pt"
CONFIG = "config.json"


class ByteDropout(nn.Dropout):  # type: ignore[misc]  # torch ships no types that strict mode accepts
    """Dropout that draws a byte an element, so that its share is a multiple of 1/256: 0.1 becomes 26/256.

    On a CPU torch draws one number after the other, a float for each element, which is a third of the time that a
    compiled step of training takes. Eight bytes of one draw for eight elements make the step 1.2 times as fast.
    """

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Zero a share `p` of the elements at random, and scale the others so that the mean stays; any shape."""
        threshold = min(255, round(256 * self.p))
        if not self.training or not threshold:
            return hidden
        draws = torch.randint(-(2**63), 2**63 - 1, ((hidden.numel() + 7) // 8,), dtype=torch.int64)
        kept = draws.view(torch.uint8)[: hidden.numel()].view(hidden.shape) >= threshold
        return hidden * kept * (256 / (256 - threshold))


class EmotionNet(nn.Module):  # type: ignore[misc]  # torch ships no types that strict mode accepts
    """Token ids in, the logits of every head out."""

    def __init__(self, encoder: BertModel, dropout: float = 0.0) -> None:
        """Put the heads on an encoder, whose own dropout becomes the given one too."""
        super().__init__()
        self.encoder = encoder
        self.dropout = ByteDropout(dropout)
        for parent in list(encoder.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Dropout):
                    setattr(parent, name, ByteDropout(dropout))
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
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = self.dropout((hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0))
        return tuple(head(pooled) for head in self.heads.values())


def with_layers(encoder: BertModel, layers: tuple[int, ...]) -> BertModel:
    """A copy of an encoder with only some of its layers, by their positions."""
    config = BertConfig.from_dict(encoder.config.to_dict() | {"num_hidden_layers": len(layers)})
    smaller = untrained(config)
    smaller.embeddings.load_state_dict(encoder.embeddings.state_dict())
    for at, layer in enumerate(layers):
        smaller.encoder.layer[at].load_state_dict(encoder.encoder.layer[layer].state_dict())
    return smaller


def untrained(config: BertConfig) -> BertModel:
    """An encoder of this shape with random weights.

    Attention is the plain matmul-softmax-matmul: on a CPU its backward pass is faster than that of the fused kernel,
    and the ONNX optimizer knows how to fuse it.
    """
    config._attn_implementation = "eager"
    return BertModel(config, add_pooling_layer=False)


def save(net: EmotionNet, folder: Path) -> None:
    """Write the weights and the shape of the encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(net.encoder.config.to_dict(), indent=1, default=str), encoding="utf-8")
    # Renamed into place: a run that is killed while writing leaves the last file.
    partial = folder / f"{WEIGHTS}.partial"
    torch.save(net.state_dict(), partial)
    partial.rename(folder / WEIGHTS)


def load(folder: Path) -> EmotionNet:
    """Read what `save` wrote; the network is in evaluation mode.

    Raises:
        OSError: There is none.
    """
    config = BertConfig.from_dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    net = EmotionNet(untrained(config))
    net.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu"))
    net.eval()
    return net
