"""The classifier for text: a model package on ONNX Runtime.

A package may be a cascade: the first tier, which is cheap, answers the texts that it is sure of, and the next tier
answers the others in the same call. All tiers share one tokenizer, so a text is tokenised once.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classification, Probabilities
from models.errors import ModelPackageError
from models.package.folder import ModelPackage, load_package
from models.package.manifest import Head, Manifest
from models.text.batching import MAX_BATCH, TOKEN_BUDGET, Limits, micro_batches
from models.text.network import Network
from models.text.tokenize import TextEncoder

SMALLEST: Final = 1e-6
"""A smaller probability is raised to this value before its logarithm is taken. It is only a rounding error, and it must
not make a label impossible for the next tier."""

_WARM_UP = (
    "what a lovely day, and I am so happy about it!",
    "a somewhat longer text, so that more than one shape of batch is seen " * 4,
    "\U0001f642",
    "",
    "a text of a hundred thousand characters " * 2_500,
)


class OnnxClassifier:
    """A model package on ONNX Runtime's CPU provider, with one session per tier.

    Thread-safe, without a lock: sessions may run at the same time, and nothing changes after the load.

    A text's probabilities do not depend on the other texts of a call, except for the rounding of float sums. This holds
    if the activations of the networks have fixed scales, as in the packages that `models.training` makes.
    """

    def __init__(
        self,
        package: ModelPackage,
        *,
        threads: int = 1,
        token_budget: int = TOKEN_BUDGET,
        max_batch: int = MAX_BATCH,
    ) -> None:
        """Load the networks and the tokenizer of a verified package. See `load` for the arguments."""
        if threads < 1 or token_budget < 1 or max_batch < 1:
            raise ValueError("threads, token_budget and max_batch are at least 1")
        self._package = package
        self._limits = Limits(token_budget, max_batch)
        self._encoder = TextEncoder(package)
        by_file: dict[Path, Network] = {}
        for file in package.tier_files:
            if file not in by_file:
                by_file[file] = Network(file, self.manifest.heads, threads=threads, tokens=self._encoder.tokens)
        self._networks = [by_file[file] for file in package.tier_files]

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
            threads: ONNX Runtime's intra-op threads. Two processes with one thread each are faster than one with two.
            token_budget: Greatest number of padded tokens in one run of the last tier; eight times as many in the tiers
                before it. A single text may exceed it.
            max_batch: Greatest number of texts in one run of the last tier; eight times as many in the tiers before it.

        Raises:
            ModelNotFoundError: The folder has no package.
            ModelPackageError: The package is damaged, or a network contradicts the manifest.
            ValueError: An argument is less than one.
        """
        package = package_or_path if isinstance(package_or_path, ModelPackage) else load_package(package_or_path)
        return cls(package, threads=threads, token_budget=token_budget, max_batch=max_batch)

    @property
    def manifest(self) -> Manifest:
        """The package's manifest."""
        return self._package.manifest

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The model's version."""
        return self.manifest.version

    @property
    def heads(self) -> tuple[Head, ...]:
        """The questions that the model answers, with the outputs of the networks."""
        return self.manifest.heads

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the model reads."""
        return self.manifest.languages

    def warm_up(self) -> None:
        """Run every tier on texts of several kinds, so that memory is allocated and errors are found before real posts.

        Raises:
            ModelPackageError: A tier gives probabilities that are not finite numbers.
        """
        for index, tier in enumerate(self.manifest.tiers):
            for head, probabilities in self.classify_with(index, _WARM_UP).items():
                finite = np.isfinite(probabilities).all(axis=1)
                if not finite.all():
                    raise ModelPackageError(
                        f"{self._package.path}: tier {tier.name!r} gives probabilities for head {head!r} that are not "
                        f"finite numbers, for the text {_WARM_UP[int(finite.argmin())][:40]!r}"
                    )

    def classify(self, texts: Sequence[str]) -> Classification:
        """Classify texts; see `Classifier.classify`.

        A text is cut at `max_tokens` tokens, and before that at ``max_tokens * 32`` characters.
        """
        answers = self._empty(len(texts))
        answered_by = np.empty(len(texts), np.intp)
        for part, ids in self._encoder.encode(texts):
            left = np.arange(len(ids))
            before: Probabilities = {}
            for index, tier in enumerate(self.manifest.tiers):
                if not left.size:
                    break
                found = self._run(index, [ids[row] for row in left], before)
                sure = confident(found, tier.thresholds)
                rows = left[sure] + part.start
                for head, probabilities in found.items():
                    answers[head][rows] = probabilities[sure]
                answered_by[rows] = index
                left = left[~sure]
                before = {head: probabilities[~sure] for head, probabilities in found.items()}
        return Classification(answers, answered_by, tuple(tier.name for tier in self.manifest.tiers))

    def classify_with(self, tier: int, texts: Sequence[str]) -> Probabilities:
        """Returns the probabilities of one tier for all texts, without thresholds; for calibration and comparison.

        If the tier adds the probabilities of the tiers before it, those run too.
        """
        first = tier
        while self.manifest.tiers[first].earlier_weights:
            first -= 1
        answers = self._empty(len(texts))
        for part, ids in self._encoder.encode(texts):
            found: Probabilities = {}
            for index in range(first, tier + 1):
                found = self._run(index, ids, found)
            for head, probabilities in found.items():
                answers[head][part] = probabilities
        return answers

    def _empty(self, count: int) -> Probabilities:
        return {head.name: np.empty((count, len(head.labels)), np.float32) for head in self.manifest.heads}

    def _run(self, index: int, ids: Sequence[NDArray[np.int64]], before: Probabilities) -> Probabilities:
        """Returns the probabilities of one tier for tokenised texts; `before` are those of the previous tier."""
        tier = self.manifest.tiers[index]
        answers = self._empty(len(ids))
        for rows in self._batches(index, [len(text) for text in ids]):
            logits = self._networks[index].run([ids[row] for row in rows])
            for head, values in zip(self.manifest.heads, logits, strict=True):
                scaled = values / np.float32(tier.temperature(head.name))
                if biases := tier.biases.get(head.name):
                    scaled += np.asarray(biases, np.float32)
                if weight := tier.earlier_weights.get(head.name):
                    scaled += np.float32(weight) * np.log(np.maximum(before[head.name][rows], SMALLEST))
                answers[head.name][rows] = softmax(scaled)
        return answers

    def _batches(self, index: int, lengths: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield the positions in `lengths` of the texts of each batch."""
        cheap = index < len(self.manifest.tiers) - 1
        return micro_batches(lengths, self._limits.for_cheap_tier() if cheap else self._limits)


def confident(probabilities: Probabilities, thresholds: dict[str, float]) -> NDArray[np.bool_]:
    """Returns which texts a tier answers: those whose best label reaches the threshold in every head that has one.

    Args:
        probabilities: The tier's probabilities for all heads.
        thresholds: The thresholds by head. Without thresholds every text is answered.

    Returns:
        bool[texts].
    """
    sure = np.ones(len(next(iter(probabilities.values()))), np.bool_)
    for head, threshold in thresholds.items():
        sure &= probabilities[head].max(axis=1) >= threshold
    return sure


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the probabilities along the last axis. The largest logit is subtracted first, so that nothing overflows.

    Args:
        logits: float32[batch, labels].

    Returns:
        float32[batch, labels]; each row sums to one.
    """
    scaled: NDArray[np.float32] = logits - logits.max(axis=-1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled
