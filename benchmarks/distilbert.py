"""The reference model: a network with DistilBERT's shape and kernels, served as DistilBERT usually is.

Its weights are random, because the cost of a network depends on its shape and not on its weights.
`benchmarks.distilbert_graph` makes the network; this module serves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.package.manifest import Head
from models.text.network import Network, TokenIds
from models.training.speed import batches

LABELS: Final = ("joy", "sadness", "anger", "fear", "love", "surprise")

BATCH: Final = 32
"""Texts in a model batch."""

PUBLISHED: Final = 0.927
"""Accuracy of the public DistilBERT that was fine-tuned on the data set `emotion`."""


class DistilBert:
    """Serves the network in the usual way: batches of 32 texts, each padded to its longest text."""

    def __init__(self, file: Path, tokenizer: Tokenizer, *, threads: int, max_tokens: int, by_length: bool) -> None:
        """Load the network.

        Args:
            file: The file that `build` has written.
            tokenizer: WordPiece, with ids below 30,522.
            threads: ONNX Runtime's intra-op threads.
            max_tokens: Longer texts are cut to this many tokens.
            by_length: Whether the texts of a call are sorted by length first, so that batches have little padding.
        """
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        pad = self._tokenizer.token_to_id("[PAD]") or 0
        tokens = TokenIds(pad, max(self._tokenizer.get_vocab().values()), max_tokens)
        self._network = Network(
            file, [Head(name="emotion", labels=LABELS, output="logits")], threads=threads, tokens=tokens
        )
        self._by_length = by_length

    def __call__(self, texts: Sequence[str]) -> NDArray[np.integer[Any]]:
        """Returns the index of each text's label, as intp[texts]."""
        answers = np.empty(len(texts), np.intp)
        at = 0
        # A worker passes a few hundred posts at once, so only those are sorted together.
        for call in batches(texts):
            ids = [np.array(encoding.ids, np.int64) for encoding in self._tokenizer.encode_batch_fast(list(call))]
            order = sorted(range(len(ids)), key=lambda i: len(ids[i])) if self._by_length else list(range(len(ids)))
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                (logits,) = self._network.run([ids[row] for row in rows])
                answers[[at + row for row in rows]] = logits.argmax(1)
            at += len(call)
        return answers


def build(file: Path) -> None:
    """Write the INT8 network, unless the file exists.

    Raises:
        ModuleNotFoundError: The library `onnx` is not installed.
    """
    if file.exists():
        return
    from benchmarks import distilbert_graph  # noqa: PLC0415 - needs the library onnx

    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.onnx")
    distilbert_graph.write_int8(partial, len(LABELS))
    partial.rename(file)
