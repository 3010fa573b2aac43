"""The cascade's first tier: a convolution over static word vectors (Kim 2014), a hundredth of the encoder's work.

It reads the same token ids as the encoder behind it, and is distilled from the same teacher. On the easy posts, which
are most, it is right as often; its calibrated confidence says which those are.
"""

import torch
from torch import nn
from torch.nn import functional

from models.training.network import HEADS


class FirstTier(nn.Module):  # type: ignore[misc]  # torch ships no types that strict mode accepts
    """Token ids in, the logits of every head out."""

    def __init__(self, vocabulary: int, *, width: int, filters: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        # One matrix product over each token and its two neighbours: a convolution of width three.
        self.convolution = nn.Linear(3 * width, filters)
        self.dropout = nn.Dropout(dropout)
        self.mixed = nn.Linear(2 * filters, filters)
        self.heads = nn.ModuleDict({name: nn.Linear(filters, n) for name, n in HEADS.items()})

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Classify a padded batch.

        Args:
            input_ids: int64[batch, tokens].
            attention_mask: int64[batch, tokens], 1 for a token and 0 for padding.

        Returns:
            Logits, float32[batch, labels], one tensor for each of `HEADS`, in that order.
        """
        mask = attention_mask.unsqueeze(-1).to(torch.float32)
        words = self.dropout(self.embedding(input_ids)) * mask
        # Padding is zero on both sides, as the text's own neighbours at its ends are.
        around = functional.pad(words, (0, 0, 1, 1))
        windows = torch.cat([around[:, :-2], words, around[:, 2:]], dim=-1)
        found = functional.relu(self.convolution(windows)) * mask
        mean = found.sum(1) / mask.sum(1).clamp(min=1.0)
        pooled = torch.cat([found.amax(1), mean], dim=-1)
        hidden = functional.relu(self.mixed(self.dropout(pooled)))
        return tuple(head(hidden) for head in self.heads.values())

    def start_from(self, vectors: torch.Tensor) -> None:
        """Start from an encoder's word vectors, reduced to this width by their principal components.

        Words that training texts hardly use then begin beside the words that mean the same.

        Args:
            vectors: float32[vocabulary, any width of at least this tier's].
        """
        width = self.embedding.embedding_dim
        centred = vectors - vectors.mean(0)
        _, _, axes = torch.linalg.svd(centred, full_matrices=False)
        reduced = centred @ axes[:width].T
        self.embedding.weight.data.copy_(reduced / reduced.std() * 0.3)
