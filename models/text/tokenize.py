"""Raw posts to token ids, as a package's model was trained to read them."""

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

# Tokenising is a hundredth of the work, and workers are many: a pool of all cores in each would only make them wait for
# each other (and the library warns after a fork). Whoever sets the variable is obeyed; it is read at each call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Texts tokenised at once: bounds what is held when a caller passes a million texts.
CHUNK = 4096
# Characters tokenised at once. The library keeps what it cuts off until the call returns, 270 bytes a token, and a
# character may be a token: 150 MB at most. Four thousand posts of usual length stay below it.
CHUNK_CHARS = 1 << 19
# Characters of a text that are looked at, per token that the model reads. English takes four to five characters a
# token, so this reaches far beyond the cut; without it a post of a megabyte would cost a second of tokenising.
CHARS_PER_TOKEN = 32

# No vocabulary knows these: a private-use character, and a word.
_UNKNOWN: Final = "\U0010fffd xqzkvjwqx"


class TextEncoder:
    """Normalises, tokenises and cuts texts. Safe to share between threads; holds no lock of ours."""

    def __init__(self, package: ModelPackage) -> None:
        """Load the tokenizer, and try it.

        Raises:
            ModelPackageError: It is none, fails on unknown words, or adds so many special tokens that nothing of a text
                is left; or the manifest names an unknown normalisation.
            MemoryError: This machine has too little for it, now or ever.
        """
        manifest = package.manifest
        normalize = NORMALIZERS.get(manifest.normalization)
        if normalize is None:
            raise ModelPackageError(
                f"{package.path} was trained with text normalisation {manifest.normalization!r}; this version serves "
                f"{', '.join(map(repr, NORMALIZERS))}"
            )
        self._normalize = normalize
        self._max_chars = manifest.max_tokens * CHARS_PER_TOKEN
        with _tokenizer_errors(f"{package.tokenizer_file} is not a tokenizer"):
            self._tokenizer = Tokenizer.from_file(str(package.tokenizer_file))
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        # With as many nothing of a text would be left, and with more the library cuts nothing.
        if manifest.max_tokens <= special:
            raise ModelPackageError(
                f"{package.tokenizer_file} adds {special} special tokens to each text, and max_tokens is "
                f"{manifest.max_tokens}; it must be more"
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.max_tokens)
        self.tokens: Final = TokenIds(self._pad_id(), self._highest_id(package), manifest.max_tokens)
        self._blank = np.array([self.tokens.pad], np.int64)

    def _pad_id(self) -> int:
        """The id to pad with. Padding is masked, so any id serves where the vocabulary names none."""
        for token in ("[PAD]", "<pad>"):
            found = self._tokenizer.token_to_id(token)
            if found is not None:
                return int(found)
        return 0

    def _highest_id(self, package: ModelPackage) -> int:
        with _tokenizer_errors(f"{package.tokenizer_file} fails on a text of unknown words"):
            tried = self._tokenizer.encode_batch_fast(["", _UNKNOWN])
        # Special tokens have their ids from the post-processor, which need not agree with the vocabulary.
        ids = [*self._tokenizer.get_vocab().values(), *(number for encoding in tried for number in encoding.ids)]
        return max(ids, default=0)

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[slice, list[NDArray[np.int64]]]]:
        """Encode texts a chunk at a time.

        Yields:
            Which of `texts`, and the ids of each, int64[tokens]; never empty, also for an empty text.

        Raises:
            RuntimeError: The tokenizer panicked on one of them.
        """
        for part in chunks([min(len(text), self._max_chars) for text in texts], CHUNK, CHUNK_CHARS):
            # Cut before normalising, because that costs time, and after it, because it may lengthen a text.
            cut = [self._normalize(text[: self._max_chars])[: self._max_chars] for text in texts[part]]
            with _panics_as_errors():
                encodings = self._tokenizer.encode_batch_fast(cut)
            # A tokenizer without special tokens finds nothing in an empty text, and networks want something.
            yield part, [np.array(encoding.ids, np.int64) if encoding.ids else self._blank for encoding in encodings]


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Turn a panic of the library, which is written in Rust, into an error.

    It is no Exception, and its class cannot be imported. As an error it costs the text or the package that caused it,
    and not the worker.

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
    """Lay whatever fails to the tokenizer's charge.

    Raises:
        ModelPackageError: It failed, or panicked.
        MemoryError: Which is not the tokenizer's fault.
    """
    try:
        with _panics_as_errors():
            yield
    except MemoryError:
        raise
    except Exception as exc:  # the binding raises nothing narrower
        raise ModelPackageError(f"{problem}: {one_line(exc)}") from exc
