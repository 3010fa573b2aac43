"""Raw posts to token ids, as a package's model was trained to read them."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.batching import chunks
from models.errors import ModelPackageError
from models.network import one_line
from models.normalize import NORMALIZERS
from models.package import ModelPackage

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


class TextEncoder:
    """Normalises, tokenises and cuts texts. Safe to share between threads; holds no lock of ours."""

    def __init__(self, package: ModelPackage) -> None:
        """Load the tokenizer.

        Raises:
            ModelPackageError: It is none, or the manifest names an unknown normalisation.
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
        try:
            self._tokenizer = Tokenizer.from_file(str(package.tokenizer_file))
        except Exception as exc:  # the binding raises nothing narrower
            raise ModelPackageError(f"{package.tokenizer_file} is not a tokenizer: {one_line(exc)}") from exc
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.max_tokens)
        self._blank = np.array([self.pad_id], np.int64)

    @property
    def pad_id(self) -> int:
        """The id to pad with. Padding is masked, so any id serves where the vocabulary names none."""
        for token in ("[PAD]", "<pad>"):
            found = self._tokenizer.token_to_id(token)
            if found is not None:
                return int(found)
        return 0

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[slice, list[NDArray[np.int64]]]]:
        """Encode texts a chunk at a time.

        Yields:
            Which of `texts`, and the ids of each, int64[tokens]; never empty, also for an empty text.
        """
        for part in chunks([min(len(text), self._max_chars) for text in texts], CHUNK, CHUNK_CHARS):
            # Cut before normalising, because that costs time, and after it, because it may lengthen a text.
            cut = [self._normalize(text[: self._max_chars])[: self._max_chars] for text in texts[part]]
            encodings = self._tokenizer.encode_batch_fast(cut)
            # A tokenizer without special tokens finds nothing in an empty text, and networks want something.
            yield part, [np.array(encoding.ids, np.int64) if encoding.ids else self._blank for encoding in encodings]
