"""Turns raw texts into token ids, with the normalisation and the tokenizer of a package."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.errors import ModelPackageError
from models.package.folder import ModelPackage
from models.text.batching import chunks
from models.text.network import TokenIds, one_line
from models.text.normalize import NORMALIZERS

# Tokenising takes a hundredth of the time. A thread pool for all cores in each of several workers would only make them
# wait for each other, and the library warns if the process forks. The library reads the variable at each call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CHUNK = 4096
"""Greatest number of texts that are tokenised at once. It limits the memory if a caller passes a million texts."""

CHUNK_CHARS = 1 << 19
"""Greatest number of characters that are tokenised at once. Until a call returns, the library keeps the tokens that it
cuts off, at 270 bytes each. A character may be a token, so a call takes up to 150 MB. Four thousand posts of usual
length have fewer characters."""

CHARS_PER_TOKEN = 32
"""Characters of a text that are read, for each token that the model takes; the rest is dropped. English has four to
five characters per token, so the tokens that the model takes are never affected. Without this limit a post of a
megabyte would take a second to tokenise."""

_UNKNOWN: Final = "\U0010fffd xqzkvjwqx"
"""A text with a private-use character and a word that no vocabulary contains."""


class TextEncoder:
    """Normalises, tokenises and cuts texts. Thread-safe, without a lock."""

    def __init__(self, package: ModelPackage) -> None:
        """Load the tokenizer, and try it on an empty text and on unknown words.

        Raises:
            ModelPackageError: The file is not a tokenizer, the tokenizer fails on unknown words, it adds so many
                special tokens that no room is left for a text, or the manifest names an unknown normalisation.
            MemoryError: The machine has too little memory.
        """
        manifest = package.manifest
        normalize = NORMALIZERS.get(manifest.normalization)
        if normalize is None:
            raise ModelPackageError(
                f"{package.path} was trained with the text normalisation {manifest.normalization!r}; this version "
                f"supports {', '.join(map(repr, NORMALIZERS))}"
            )
        self._normalize = normalize
        self._max_chars = manifest.max_tokens * CHARS_PER_TOKEN
        with _tokenizer_errors(f"{package.tokenizer_file} is not a tokenizer"):
            self._tokenizer = Tokenizer.from_file(str(package.tokenizer_file))
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        # If they are equal, no room is left for the text. If `special` is larger, the library does not cut texts at
        # all.
        if manifest.max_tokens <= special:
            raise ModelPackageError(
                f"{package.tokenizer_file} adds {special} special tokens to each text, but max_tokens is "
                f"{manifest.max_tokens}; it must be larger"
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.max_tokens)
        self.tokens: Final = TokenIds(self._pad_id(), self._highest_id(package), manifest.max_tokens)
        self._blank = np.array([self.tokens.pad], np.int64)

    def _pad_id(self) -> int:
        """Returns the id to pad with. Padding is masked, so any id will do if the vocabulary has no padding token."""
        for token in ("[PAD]", "<pad>"):
            found = self._tokenizer.token_to_id(token)
            if found is not None:
                return int(found)
        return 0

    def _highest_id(self, package: ModelPackage) -> int:
        with _tokenizer_errors(f"{package.tokenizer_file} fails on a text of unknown words"):
            encodings = self._tokenizer.encode_batch_fast(["", _UNKNOWN])
        # The post-processor defines the ids of special tokens, which may differ from the vocabulary.
        ids = [*self._tokenizer.get_vocab().values(), *(number for encoding in encodings for number in encoding.ids)]
        return max(ids, default=0)

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[slice, list[NDArray[np.int64]]]]:
        """Encode texts, a chunk at a time.

        Yields:
            The slice of `texts` that the chunk holds, and the token ids of each of its texts, int64[tokens]. A text has
            at least one token, also if it is empty.

        Raises:
            RuntimeError: The tokenizer panicked on a text.
        """
        for part in chunks([min(len(text), self._max_chars) for text in texts], CHUNK, CHUNK_CHARS):
            # Cut before normalising, to save time, and again after it, because normalising may lengthen a text.
            cut = [self._normalize(text[: self._max_chars])[: self._max_chars] for text in texts[part]]
            with _panics_as_errors():
                encodings = self._tokenizer.encode_batch_fast(cut)
            # Without special tokens an empty text has no tokens, and a network needs at least one.
            yield part, [np.array(encoding.ids, np.int64) if encoding.ids else self._blank for encoding in encodings]


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Translate a panic of the library, which is written in Rust, into an Exception.

    The class of a panic is not an Exception, and it cannot be imported. As an Exception it makes the text or the
    package fail that caused it, and the worker goes on.

    Raises:
        RuntimeError: The tokenizer panicked.
    """
    try:
        yield
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":
            raise
        raise RuntimeError(f"the tokenizer panicked: {one_line(exc)}") from exc


@contextmanager
def _tokenizer_errors(problem: str) -> Iterator[None]:
    """Translate errors of the tokenizer into errors of its package.

    Raises:
        ModelPackageError: The tokenizer failed or panicked. The message begins with `problem`.
        MemoryError: The machine has too little memory.
    """
    try:
        with _panics_as_errors():
            yield
    except MemoryError:
        raise
    except Exception as exc:  # the library raises plain Exception
        raise ModelPackageError(f"{problem}: {one_line(exc)}") from exc
