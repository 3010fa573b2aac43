"""A smaller WordPiece vocabulary: the tokens that posts use, and enough pieces to spell every other word.

A third of a small encoder is its table of word vectors, most of which posts never touch. What is kept: the special
tokens; every single character and continuation of one, so that any word made of them still has a spelling and never
becomes the unknown token; the common words of the language, which BERT's vocabulary lists in order of frequency; and
whatever the training texts use often enough.
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
    """Choose what to keep.

    Args:
        tokenizer: A WordPiece tokenizer.
        texts: Normalised texts that show what posts use.
        first: Keep the tokens below this id, the special ones and those that no text uses included.
        min_count: Keep the tokens that the texts use at least this often.

    Returns:
        int64[kept], ids in ascending order.
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
    """The tokenizer with only these tokens, numbered by their place in `kept`."""
    new_id = {old: new for new, old in enumerate(kept.tolist())}
    spec = json.loads(tokenizer.to_str())
    spec["model"]["vocab"] = {w: new_id[i] for w, i in spec["model"]["vocab"].items() if i in new_id}
    for token in spec["added_tokens"]:
        token["id"] = new_id[token["id"]]
    for token in spec["post_processor"]["special_tokens"].values():
        token["ids"] = [new_id[i] for i in token["ids"]]
    return Tokenizer.from_str(json.dumps(spec))


def prune(net: EmotionNet, kept: NDArray[np.int64]) -> None:
    """Keep only these rows of a network's table of word vectors, in place."""
    old = net.encoder.embeddings.word_embeddings
    new = torch.nn.Embedding(len(kept), old.embedding_dim, padding_idx=int(np.flatnonzero(kept == old.padding_idx)[0]))
    new.weight.data.copy_(old.weight.data[torch.tensor(kept)])
    net.encoder.embeddings.word_embeddings = new
    net.encoder.config.vocab_size = len(kept)
