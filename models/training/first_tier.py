"""The cascade's first tier: a convolution over static word vectors (Kim 2014), with a hundredth of the encoder's work.

It takes the same token ids as the encoder of the last tier, and is distilled from the same teachers. On easy posts,
which are the majority, it is right as often. Its calibrated confidence tells which posts are easy.
"""

import torch
from torch import nn
from torch.nn import functional

from models.training.network import HEADS


class FirstTier(nn.Module):  # type: ignore[misc]  # torch ships no types that strict mode accepts
    """Takes token ids, and returns the logits of every head."""

    def __init__(self, vocabulary: int, *, width: int, filters: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        # A convolution of width three, as one matrix product over each token and its two neighbours.
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
        # The neighbours outside of a text are zero, like padding.
        around = functional.pad(words, (0, 0, 1, 1))
        windows = torch.cat([around[:, :-2], words, around[:, 2:]], dim=-1)
        found = functional.relu(self.convolution(windows)) * mask
        mean = found.sum(1) / mask.sum(1).clamp(min=1.0)
        pooled = torch.cat([found.amax(1), mean], dim=-1)
        hidden = functional.relu(self.mixed(self.dropout(pooled)))
        return tuple(head(hidden) for head in self.heads.values())

    def start_from(self, vectors: torch.Tensor) -> None:
        """Initialise the word vectors from those of an encoder, reduced to this width by their principal components.

        Words that are rare in the training texts then start close to words with the same meaning.

        Args:
            vectors: float32[vocabulary, width of at least this tier's].
        """
        width = self.embedding.embedding_dim
        centred = vectors - vectors.mean(0)
        _, _, axes = torch.linalg.svd(centred, full_matrices=False)
        reduced = centred @ axes[:width].T
        self.embedding.weight.data.copy_(reduced / reduced.std() * 0.3)
