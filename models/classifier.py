"""Texts in, probabilities out: the interface that streams depend on, and its ONNX Runtime implementation.

Batches are built for the processor, not for the caller: texts are sorted by length and cut into micro-batches with
next to no padding, bounded by padded tokens (longest x count), so that a long text never makes short ones pay for it,
and the memory of a run is bounded whatever comes in. On a CPU that is worth a factor of two over batches padded as
they come; a larger batch gains nothing.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from models.errors import ModelPackageError
from models.normalize import NORMALIZATION_ID, normalize
from models.package import Manifest, ModelPackage, load_package

# Tokenising is a hundredth of the work, and workers are many: a pool of all cores in each would only make them wait for
# each other (and the library warns after a fork). Whoever sets the variable is obeyed; it is read at each call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Padded tokens in one run of the network. On a CPU the cost is linear in tokens from a few dozen on; beyond a thousand
# the activations leave the caches and a token costs 10 to 20 % more.
TOKEN_BUDGET = 1024
# Padding, in tokens, that is worth saving a run: what a run costs beyond its tokens (2 tokens' time with one thread,
# 18 with two).
PADDING = 16
# Texts in one run, so that a thousand one-word posts do not become one wide batch of softmaxes.
MAX_BATCH = 128
# Texts tokenised at once: bounds the memory held in encodings when a caller passes a million texts.
CHUNK = 4096
# Characters of a text that are looked at, per token that the model reads. English takes four to five characters a
# token, so this reaches far beyond the cut; without it a post of a megabyte would cost a second of tokenising.
CHARS_PER_TOKEN = 32

_WARM_UP = ("warm up", "a somewhat longer text, so that more than one shape of batch is seen " * 4)


class Classifier(Protocol):
    """What the stream needs of a model. Safe to call from several threads."""

    @property
    def manifest(self) -> Manifest:
        """What the model is: its name, version, heads and labels."""
        ...

    def classify(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Classify texts.

        Args:
            texts: Any number of raw posts; normalisation is the classifier's business.

        Returns:
            For each head by name, probabilities float32[len(texts), labels] in the order of `texts`; each row sums
            to one.
        """
        ...


class OnnxClassifier:
    """A model package on ONNX Runtime's CPU provider.

    Safe to share between threads: the session may run concurrently, tokenising holds no lock of ours, and nothing
    here changes after the load.

    A text's probabilities do not depend on the texts it comes with, but for the rounding of float sums, as long as the
    package's activations have fixed scales, as those that `models.training` makes do.
    """

    def __init__(
        self,
        package: ModelPackage,
        *,
        threads: int = 1,
        token_budget: int = TOKEN_BUDGET,
        max_batch: int = MAX_BATCH,
    ) -> None:
        """Load the network and the tokenizer of a verified package. See `load` for the arguments."""
        if threads < 1 or token_budget < 1 or max_batch < 1:
            raise ValueError("threads, token_budget and max_batch are at least 1")
        self._package = package
        self._token_budget = token_budget
        self._max_batch = max_batch
        self._max_chars = package.manifest.max_tokens * CHARS_PER_TOKEN
        self._tokenizer = _tokenizer(package)
        self._pad_id = _pad_id(self._tokenizer)
        self._session = _session(package, threads)
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._check()

    @classmethod
    def load(
        cls,
        package_or_path: ModelPackage | str | Path,
        *,
        threads: int = 1,
        token_budget: int = TOKEN_BUDGET,
        max_batch: int = MAX_BATCH,
    ) -> Self:
        """Load a classifier.

        Args:
            package_or_path: A package, or the folder of one, which is then verified.
            threads: ONNX Runtime's intra-op threads. Two processes with one each beat one with two.
            token_budget: At most this many padded tokens run at once; a single text may exceed it.
            max_batch: At most this many texts run at once.

        Raises:
            ModelNotFoundError: There is no package there.
            ModelPackageError: It is damaged, or the network and the manifest disagree.
            ValueError: An argument is less than one.
        """
        package = package_or_path if isinstance(package_or_path, ModelPackage) else load_package(package_or_path)
        return cls(package, threads=threads, token_budget=token_budget, max_batch=max_batch)

    @property
    def manifest(self) -> Manifest:
        """What the model is."""
        return self._package.manifest

    def warm_up(self) -> None:
        """Run once, so that the first real batch does not pay for allocations."""
        self.classify(_WARM_UP)

    def classify(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Classify texts; see `Classifier.classify`.

        A text longer than `max_tokens` is cut there; of a text longer than ``max_tokens * 32`` characters, only those
        are looked at.
        """
        heads = self.manifest.heads
        answers = {head.name: np.empty((len(texts), len(head.labels)), np.float32) for head in heads}
        for start in range(0, len(texts), CHUNK):
            encodings = self._encode(texts[start : start + CHUNK])
            for rows in micro_batches([len(e.ids) for e in encodings], self._token_budget, self._max_batch):
                logits = self._session.run(
                    [head.output for head in heads], self._feed([encodings[row] for row in rows])
                )
                into = np.asarray(rows) + start
                for head, values in zip(heads, logits, strict=True):
                    answers[head.name][into] = softmax(values, head.temperature)
        return answers

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch_fast([normalize(text[: self._max_chars]) for text in texts])

    def _feed(self, encodings: Sequence[Encoding]) -> dict[str, NDArray[np.int64]]:
        """The network's inputs, each int64[len(encodings), longest]."""
        longest = max(len(encoding.ids) for encoding in encodings)
        ids = np.full((len(encodings), longest), self._pad_id, np.int64)
        mask = np.zeros((len(encodings), longest), np.int64)
        for row, encoding in enumerate(encodings):
            length = len(encoding.ids)
            ids[row, :length] = encoding.ids
            mask[row, :length] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(ids)
        return feed

    def _check(self) -> None:
        """Hold the network against the manifest: inputs, outputs, and the width of each head."""
        name = self._package.model_file
        if unknown := set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}:
            raise ModelPackageError(f"{name} wants inputs that no tokenizer gives: {', '.join(sorted(unknown))}")
        outputs = {node.name: node.shape for node in self._session.get_outputs()}
        for head in self.manifest.heads:
            if head.output not in outputs:
                raise ModelPackageError(f"{name} has no output {head.output!r} for head {head.name!r}")
            width = outputs[head.output][-1]
            if width != len(head.labels):
                raise ModelPackageError(
                    f"{name} gives {width} values for head {head.name!r}, which has {len(head.labels)} labels"
                )


def micro_batches(lengths: Sequence[int], token_budget: int, max_batch: int) -> Iterator[list[int]]:
    """Cut texts into batches of similar length.

    A batch ends where the next text would take it over a bound, or would add more padding than a run of its own costs.

    Args:
        lengths: Tokens of each text.
        token_budget: No batch has more than this many padded tokens (longest x count), but for a single longer text.
        max_batch: No batch has more than this many texts.

    Yields:
        Positions in `lengths`; every position once, shortest texts first.
    """
    batch: list[int] = []
    tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Sorted, so this text is the longest so far.
        padded = lengths[position] * (len(batch) + 1)
        tokens += lengths[position]
        if batch and (len(batch) == max_batch or padded > token_budget or padded - tokens > PADDING):
            yield batch
            batch, tokens = [], lengths[position]
        batch.append(position)
    if batch:
        yield batch


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities along the last axis; the largest logit is subtracted first, so that nothing overflows.

    Args:
        logits: float32[batch, labels].
        temperature: Divides the logits; above 1 makes the answer less sure (Guo et al. 2017).

    Returns:
        float32[batch, labels], each row summing to one.
    """
    scaled = logits / np.float32(temperature)
    scaled -= scaled.max(axis=-1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled


def _tokenizer(package: ModelPackage) -> Tokenizer:
    if package.manifest.normalization != NORMALIZATION_ID:
        raise ModelPackageError(
            f"{package.path} was trained with text normalisation {package.manifest.normalization!r}; "
            f"this version serves {NORMALIZATION_ID!r}"
        )
    try:
        tokenizer = Tokenizer.from_file(str(package.tokenizer_file))
    except Exception as exc:  # the binding raises nothing narrower
        raise ModelPackageError(f"{package.tokenizer_file} is not a tokenizer: {one_line(exc)}") from exc
    tokenizer.no_padding()
    tokenizer.enable_truncation(package.manifest.max_tokens)
    return tokenizer


def _pad_id(tokenizer: Tokenizer) -> int:
    """The id to pad with. Padding is masked, so any id serves where the vocabulary names none."""
    pad_id = tokenizer.token_to_id("[PAD]")
    return 0 if pad_id is None else pad_id


def _session(package: ModelPackage, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads sleep instead of spinning: the cores are shared with Kafka, Redis and other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(package.model_file), sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's exceptions share no public base class
        raise ModelPackageError(f"{package.model_file} cannot be loaded: {one_line(exc)}") from exc


def one_line(exc: BaseException) -> str:
    """The first line of an exception's message, cut to 200 characters."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]
