"""Makes tiny model packages that run: bags of words with any labels, in one tier or in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from models.package.folder import ModelPackage, write_package
from models.package.manifest import DEFAULT_TIERS, DataSource, FileEntry, Head, Manifest, Tier
from tests.onnx_files import bag_of_words

TOPIC = Head(name="topic", labels=("spam", "ham", "größer als 🙂"), output="topic")
SENTIMENT = Head(
    name="sentiment", labels=("negative", "neutral", "positive"), output="sentiment", values=(-1.0, 0.0, 1.0)
)
HEADS = (TOPIC, SENTIMENT)
WORDS: dict[str, dict[str, str]] = {
    "buy": {"topic": "spam", "sentiment": "negative"},
    "hello": {"topic": "ham", "sentiment": "positive"},
    "groß": {"topic": "größer als 🙂", "sentiment": "neutral"},
    "bad": {"sentiment": "negative"},
    "good": {"sentiment": "positive"},
    "filler": {},
}
"""The label that each word of the vocabulary adds weight to, by head."""

MOOD = Head(name="mood", labels=("alegría", "tristeza"), output="mood")
SPANISH_WORDS: dict[str, dict[str, str]] = {"encanta": {"mood": "alegría"}, "triste": {"mood": "tristeza"}}
"""The same of a model that reads Spanish. It shares no label with the other one, and has no sentiment."""


def tiny_manifest(
    heads: Sequence[Head] = HEADS,
    *,
    tiers: Sequence[Tier] = DEFAULT_TIERS,
    name: str = "tiny",
    version: str = "1.0.0",
) -> Manifest:
    """Make a manifest without files, for a fake classifier."""
    files = {"tokenizer.json", "MODEL_CARD.md", *(tier.file for tier in tiers)}
    return Manifest(
        name=name,
        version=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        base_model="none",
        licence="Apache-2.0",
        training_data=(),
        normalization="none",
        max_tokens=16,
        languages=("*",),
        heads=tuple(heads),
        tiers=tuple(tiers),
        metrics={},
        files={file: FileEntry(sha256="0" * 64, bytes=0) for file in sorted(files)},
    )


def save_tokenizer(file: Path, words: Sequence[str] = tuple(WORDS)) -> None:
    """Write a tokenizer that splits texts at white space. It knows only `words`, and adds no special tokens."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(file))


def weights(head: Head, words: Mapping[str, Mapping[str, str]], strength: float) -> NDArray[np.float32]:
    """Returns float32[vocabulary, labels] with `strength` where `words` gives a word a label, and 0 elsewhere."""
    rows = np.zeros((len(words) + 2, len(head.labels)), np.float32)
    for row, meaning in enumerate(words.values(), start=2):
        if head.name in meaning:
            rows[row, head.labels.index(meaning[head.name])] = strength
    return rows


def network(
    heads: Sequence[Head] = HEADS, words: Mapping[str, Mapping[str, str]] = WORDS, strength: float = 3.0
) -> bytes:
    """Returns an ONNX network whose logits are `strength` for each word with the label."""
    return bag_of_words({head.output: weights(head, words, strength) for head in heads})


def tiny_package(
    folder: Path,
    *,
    name: str = "tiny",
    version: str = "1.0.0",
    heads: Sequence[Head] = HEADS,
    networks: Mapping[str, bytes] | None = None,
    tiers: Sequence[Tier] = DEFAULT_TIERS,
    golden: str | None = None,
    normalization: str = "none",
    max_tokens: int = 16,
    languages: Sequence[str] = ("*",),
    words: Mapping[str, Mapping[str, str]] = WORDS,
) -> ModelPackage:
    """Write a sealed package. `networks` are its ONNX files by name; the default is one network that knows `words`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"model.onnx": network(heads, words)} if networks is None else dict(networks)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    save_tokenizer(folder / "tokenizer.json", tuple(words))
    (folder / "MODEL_CARD.md").write_text("# A bag of words, for tests\n")
    return write_package(
        folder,
        name=name,
        version=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        base_model="none",
        licence="Apache-2.0",
        training_data=[DataSource(name="made up", licence="CC0-1.0")],
        normalization=normalization,
        max_tokens=max_tokens,
        languages=languages,
        heads=heads,
        tiers=tiers,
        golden=golden,
        metrics={},
        files=[*files, "tokenizer.json", "MODEL_CARD.md", *([golden] if golden else [])],
    )


def spanish_package(
    folder: Path, *, version: str = "2.0.0", languages: Sequence[str] = ("es",), strength: float = 3.0
) -> ModelPackage:
    """Write a sealed package that knows `SPANISH_WORDS`."""
    return tiny_package(
        folder,
        name="spanish",
        version=version,
        heads=[MOOD],
        networks={"model.onnx": network([MOOD], SPANISH_WORDS, strength)},
        words=SPANISH_WORDS,
        languages=languages,
    )
