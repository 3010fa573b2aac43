"""Makes a package from trained networks: exports, fuses, quantises, calibrates, chooses thresholds, and seals."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from tokenizers import Tokenizer

from models.package.folder import ModelPackage, write_package
from models.package.manifest import CARD, GOLDEN, MODEL, TOKENIZER, DataSource, Head, Tier
from models.text.golden import write_golden
from models.text.normalize import NORMALIZATION_ID
from models.text.onnx_classifier import OnnxClassifier
from models.training import encoders, export
from models.training.activations import fix_scales
from models.training.calibrate import choose_thresholds
from models.training.config import TrainingConfig
from models.training.data import SET_NAMES, SETS, Examples, Logits, Splits
from models.training.first_tier import FirstTier
from models.training.kernels import rewrite
from models.training.labels import EMOTIONS, SENTIMENT_VALUES, SENTIMENTS
from models.training.network import EmotionNet
from models.training.scaling import Scaling, fit_scaling
from models.training.speed import spread

FIRST_TIER: Final = "convolution"
LAST_TIER: Final = "transformer"
FIRST_MODEL: Final = "first_tier.onnx"
LICENCE_FILE: Final = "LICENSE"

HEADS: Final = (
    Head(name="emotion", labels=EMOTIONS, output="emotion"),
    Head(name="sentiment", labels=SENTIMENTS, output="sentiment", values=SENTIMENT_VALUES),
)

_SCALE_ROWS: Final = 256
"""Number of texts, of all data sets, on which the scales of the activations are measured. All their tensors are in
memory at the same time."""

_GOLDEN_TEXTS: Final = Path(__file__).parent / "golden_texts.txt"
_LICENCES: Final = Path(__file__).parent / "licences"


@dataclass(frozen=True)
class PackageParts:
    """What a package is made from.

    Attributes:
        config: The configuration of the training.
        splits: The rows for the calibration, and the training rows, whose number is in the manifest.
        name: The package's name.
        encoder: The pretrained encoder that `network` started from; one of `encoders.NAMES`.
        network: The network of the last tier, or of the only one.
        first_tier: The network of the first tier; None if there is none.
        tokenizer: The tokenizer of both networks.
        int8: Whether to quantise the networks; if not, they are FP32.
        sets: The data sets that the networks learnt. Only rows of these sets are used for the calibration, and the
            package has only the heads that they have labels for.
    """

    config: TrainingConfig
    splits: Splits
    name: str
    encoder: str
    network: EmotionNet
    first_tier: FirstTier | None
    tokenizer: Tokenizer
    int8: bool = True
    sets: tuple[str, ...] = SET_NAMES

    @property
    def calibration(self) -> Examples:
        """The rows for the calibration."""
        return self.splits.calibration.of(*self.sets)

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that the data sets have labels for. The network did not learn any other head."""
        learnt = [data_set for data_set in SETS if data_set.name in self.sets]
        taught = {
            "emotion": any(data_set.emotions is not None for data_set in learnt),
            "sentiment": any(data_set.sentiment is not None for data_set in learnt),
        }
        return tuple(head for head in HEADS if taught[head.name])


class Packer:
    """Builds one package in an empty folder. It is sealed several times: to calibrate, to measure, and at the end.

    Call `write_networks`, `calibrate`, `write_golden_posts` and `seal`, in this order.
    """

    def __init__(self, parts: PackageParts, folder: Path, *, threads: int, console: Console) -> None:
        """Prepare the packer.

        Args:
            parts: What the package is made from.
            folder: An empty folder, which becomes the package.
            threads: ONNX Runtime's intra-op threads.
            console: Shows the progress.
        """
        self._parts = parts
        self._folder = folder
        self._threads = threads
        self._console = console

    def write_networks(self) -> None:
        """Write the networks, the tokenizer, the licence, and a draft of the card."""
        parts = self._parts
        feeds = [feed(parts.tokenizer, text) for text in spread(parts.calibration.texts, _SCALE_ROWS)]
        with tempfile.TemporaryDirectory() as scratch:
            plain, fused = Path(scratch, "plain.onnx"), Path(scratch, "fused.onnx")
            export.export(parts.network, plain)
            self._console.print("fused:", export.fuse(plain, fused, parts.network.encoder.config))
            self._finish(fused, self._folder / MODEL, feeds)
            if parts.first_tier is not None:
                export.export(parts.first_tier, plain)
                self._finish(plain, self._folder / FIRST_MODEL, feeds)
        parts.tokenizer.save(str(self._folder / TOKENIZER))
        shutil.copyfile(_LICENCES / "Apache-2.0.txt", self._folder / LICENCE_FILE)
        (self._folder / CARD).write_text("draft\n", encoding="utf-8")

    def _finish(self, source: Path, target: Path, feeds: Sequence[Mapping[str, NDArray[np.int64]]]) -> None:
        if self._parts.int8:
            export.quantize(source, target)
            fix_scales(source, target, feeds, self._threads)
        else:
            shutil.copyfile(source, target)
        self._console.print("rewritten:", rewrite(target))

    def calibrate(self) -> tuple[Tier, ...]:
        """Returns the tiers with their scaling and thresholds, fitted on the answers of the quantised networks.

        A head without labels in the calibration rows is not scaled. If no thresholds keep the configured bounds, the
        first tier is removed.
        """
        parts = self._parts
        last = Tier(name=LAST_TIER, file=MODEL)
        calibration = parts.calibration
        if parts.first_tier is None:
            return (_scaled(last, self._scaling(self._logits((last,), calibration)[0])),)
        # No confidence reaches a threshold above one. `classify_with` ignores it; a first tier must have one.
        first = Tier(name=FIRST_TIER, file=FIRST_MODEL, thresholds={"emotion": 2.0})
        of_first, of_last = self._logits((first, last), calibration)
        alone = self._scaling(of_first)
        of_first = alone.of(of_first)
        pool = self._scaling(of_last, of_first)
        self._console.print("first tier:", alone, "\npool of the two:", pool)
        bounds = parts.config.cascade
        chosen = choose_thresholds(
            of_first,
            pool.of(of_last, of_first),
            calibration,
            max_loss=bounds.max_loss,
            max_disagreement=bounds.max_disagreement,
        )
        self._console.print("thresholds on the calibration rows:", chosen)
        if chosen is None:
            self._console.print("no thresholds keep the bounds, so the package has no first tier")
            (self._folder / FIRST_MODEL).unlink()
            return (_scaled(last, self._scaling(of_last)),)
        return (_scaled(first, alone).model_copy(update={"thresholds": chosen.thresholds}), _scaled(last, pool))

    def _scaling(self, logits: Logits, before: Logits | None = None) -> Scaling:
        return fit_scaling(logits, self._parts.calibration, before, ridge=self._parts.config.scaling.ridge)

    def _logits(self, tiers: tuple[Tier, ...], data: Examples) -> list[Logits]:
        """Returns the logarithms of each tier's probabilities at temperature one: its logits, except for a constant."""
        draft = OnnxClassifier.load(self.seal(tiers, golden=False), threads=self._threads)
        return [
            {
                head: np.log(np.maximum(probabilities, 1e-12))
                for head, probabilities in draft.classify_with(index, data.texts).items()
            }
            for index in range(len(tiers))
        ]

    def write_golden_posts(self, tiers: tuple[Tier, ...]) -> ModelPackage:
        """Write the golden posts of the calibrated package, and seal it."""
        classifier = OnnxClassifier.load(self.seal(tiers, golden=False), threads=self._threads)
        texts = _GOLDEN_TEXTS.read_text(encoding="utf-8").splitlines()
        write_golden(classifier, texts, self._folder / GOLDEN)
        return self.seal(tiers)

    def seal(
        self,
        tiers: tuple[Tier, ...],
        *,
        golden: bool = True,
        card: str | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> ModelPackage:
        """Write the manifest, and the card if one is given."""
        config, train = self._parts.config, self._parts.splits.train
        if card is not None:
            (self._folder / CARD).write_text(card, encoding="utf-8")
        files = [TOKENIZER, CARD, LICENCE_FILE, *(tier.file for tier in tiers), *([GOLDEN] if golden else [])]
        return write_package(
            self._folder,
            name=self._parts.name,
            version=config.package.version,
            created_at=datetime.now(UTC).replace(microsecond=0),
            base_model=str(encoders.BASES[self._parts.encoder]),
            licence=config.package.licence,
            training_data=[
                DataSource(name=s.title, licence=s.licence, url=s.url, rows=len(train.of(s.name)))
                for s in SETS
                if s.name in self._parts.sets
            ],
            normalization=NORMALIZATION_ID,
            max_tokens=config.max_tokens,
            heads=self._parts.heads,
            tiers=tiers,
            golden=GOLDEN if golden else None,
            metrics=metrics or {},
            files=files,
        )


def feed(tokenizer: Tokenizer, text: str) -> dict[str, NDArray[np.int64]]:
    """Returns the networks' inputs for one normalised text, each int64[1, tokens]."""
    ids = np.asarray([tokenizer.encode(text).ids], np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _scaled(tier: Tier, scaling: Scaling) -> Tier:
    update = {
        "temperatures": scaling.temperatures,
        "biases": scaling.biases,
        "earlier_weights": scaling.weights,
    }
    return tier.model_copy(update=update)
