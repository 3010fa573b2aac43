"""Prunes a WordPiece vocabulary to the tokens that posts use, and to enough pieces to spell every other word.

A third of a small encoder is its table of word vectors, and posts never use most of them. These tokens are kept:

- the special tokens;
- every single character, also as a continuation, so that a word of these characters never becomes the unknown token;
- the first tokens of BERT's vocabulary, which lists words in the order of their frequency;
- the tokens that the training texts use often enough.
"""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.training.network import EmotionNet


def kept_ids(tokenizer: Tokenizer, texts: Sequence[str], *, first: int, min_count: int) -> NDArray[np.int64]:
    """Choose the tokens to keep.

    Args:
        tokenizer: A WordPiece tokenizer.
        texts: Normalised texts.
        first: Tokens with an id below this are kept, also special tokens and those that no text uses.
        min_count: Tokens that the texts use at least this often are kept.

    Returns:
        int64[kept], the ids in ascending order.
    """
    used = Counter(token for encoding in tokenizer.encode_batch(list(texts)) for token in encoding.ids)
    kept = {
        token
        for word, token in tokenizer.get_vocab().items()
        if (token < first and not word.startswith("[unused"))
        or len(word.removeprefix("##")) == 1
        or used[token] >= min_count
    }
    return np.array(sorted(kept | tokenizer.get_added_tokens_decoder().keys()), np.int64)


def pruned_tokenizer(tokenizer: Tokenizer, kept: NDArray[np.int64]) -> Tokenizer:
    """Returns the tokenizer with only the kept tokens, whose new ids are their positions in `kept`."""
    new_id = {old: new for new, old in enumerate(kept.tolist())}
    spec = json.loads(tokenizer.to_str())
    spec["model"]["vocab"] = {w: new_id[i] for w, i in spec["model"]["vocab"].items() if i in new_id}
    for token in spec["added_tokens"]:
        token["id"] = new_id[token["id"]]
    for token in spec["post_processor"]["special_tokens"].values():
        token["ids"] = [new_id[i] for i in token["ids"]]
    return Tokenizer.from_str(json.dumps(spec))


def prune(net: EmotionNet, kept: NDArray[np.int64]) -> None:
    """Keep only the word vectors of the kept tokens in a network, in place."""
    old = net.encoder.embeddings.word_embeddings
    new = torch.nn.Embedding(len(kept), old.embedding_dim, padding_idx=int(np.flatnonzero(kept == old.padding_idx)[0]))
    new.weight.data.copy_(old.weight.data[torch.tensor(kept)])
    net.encoder.embeddings.word_embeddings = new
    net.encoder.config.vocab_size = len(kept)
