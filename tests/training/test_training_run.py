"""Training on a few hundred made-up posts. `make test-train` runs this; it needs PyTorch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from models.package.folder import ModelPackage
from models.text.golden import check_golden
from models.text.onnx_classifier import OnnxClassifier
from models.training import encoders, network, vocabulary
from models.training.calibrate import calibrated_loss
from models.training.config import Recipe, read_config
from models.training.data import Examples, read_splits
from models.training.errors import TrainingError
from models.training.loop import STATE, Machine, Trainer, logits_of
from models.training.networks import Networks
from models.training.run import run_training

WORDS = {
    "joy": ("happy", "glad", "delighted"),
    "sadness": ("sad", "miserable", "gloomy"),
    "anger": ("angry", "furious", "mad"),
    "fear": ("afraid", "scared", "terrified"),
    "love": ("adoring", "loving", "tender"),
    "surprise": ("surprised", "amazed", "stunned"),
    "disgust": ("disgusted", "sickened", "revolted"),
    "neutral": ("seated", "indoors", "awake"),
}
SENTIMENT = {"positive": ("joy", "love"), "negative": ("sadness", "anger"), "neutral": ("neutral",)}
CALIBRATION = {"emotion": 40, "goemotions": 40, "tweets-emotion": 20, "tweets-sentiment": 40}
CONFIG = """
[package]
name = "small"
version = "0.1.0"
[calibration_rows]
emotion = 40
goemotions = 40
tweets-emotion = 20
tweets-sentiment = 40
[[teachers]]
name = "one"
encoder = "minilm-l6"
recipe = { epochs = 1, batch_size = 16, learning_rate = 3e-4 }
[[teachers]]
name = "two"
encoder = "minilm-l6"
recipe = { epochs = 1, batch_size = 16, learning_rate = 3e-4, seed = 5 }
[augmentation]
copies = { emotion = 1 }
[student]
encoder = "minilm-l6"
layers = [0, 5]
pool_early = true
recipe = { epochs = 3, batch_size = 16, learning_rate = 5e-4, distillation = 0.5 }
[first_tier]
recipe = { epochs = 6, batch_size = 16, learning_rate = 5e-3, head_learning_rate = 5e-3, distillation = 0.5 }
[cascade]
max_loss = 0.05
max_disagreement = 0.05
"""
MACHINE = Machine(threads=2)

# The tests take minutes on a busy machine.
pytestmark = pytest.mark.timeout(900)


def post(rng: random.Random, emotion: str) -> str:
    place = rng.choice(("today", "at home", "in the office", "on the train", "after lunch", "this week"))
    return (
        f"{rng.choice(('i feel', 'feeling', 'we are', 'i am'))} {rng.choice(WORDS[emotion])} {place} {rng.random():.3f}"
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(1)
    emotions = list(WORDS)
    sets = {
        "emotion/{}.tsv": (emotions[:6], lambda e: f"{post(rng, e)}\t{e}"),
        "goemotions/{}.tsv": (emotions, lambda e: f"id\t{post(rng, e)}\t{e}"),
        "tweets/emotion_{}.tsv": (emotions[:3], lambda e: f"{post(rng, e)}\t{e}"),
        "tweets/sentiment_{}.tsv": (list(SENTIMENT), lambda s: f"{post(rng, rng.choice(SENTIMENT[s]))}\t{s}"),
    }
    for pattern, (labels, line) in sets.items():
        for split, rows in (("train", 240), ("validation", 60)):
            file = folder / pattern.format(split)
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(line(labels[i % len(labels)]) + "\n" for i in range(rows)))
    return folder


def train(data: Path, *, work: Path, out: Path, config: Path | None = None) -> ModelPackage:
    return run_training(
        data=data,
        config_file=config,
        work=work,
        out=out,
        replace=True,
        threads=MACHINE.threads,
        bf16=MACHINE.bf16,
        compiled=MACHINE.compiled,
        console=Console(quiet=True),
    )


def test_a_run_makes_a_package_and_a_second_run_trains_nothing(data, tmp_path):
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)

    package = train(data, work=tmp_path / "work", out=tmp_path / "out", config=config)
    figures = package.manifest.metrics
    assert figures["emotion.accuracy"] > 0.9
    assert figures["tweets-sentiment.macro_recall"] > 0.9
    classifier = OnnxClassifier.load(package)
    assert check_golden(classifier, package) >= 1
    assert [tier.name for tier in package.manifest.tiers] == ["convolution", "transformer"]
    assert "teacher: two" in (package.path / "MODEL_CARD.md").read_text()

    # The work folder has all stages, so a second run trains nothing.
    weights = {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("weights.pt")}
    assert len(weights) == 4
    again = train(data, work=tmp_path / "work", out=tmp_path / "out", config=config)
    assert again.manifest.metrics == figures
    assert weights == {file: file.stat().st_mtime_ns for file in (tmp_path / "work").rglob("weights.pt")}


def changed(data: Path, folder: Path, old: str, new: str) -> Networks:
    """Returns the stages of `CONFIG` with one change, with the same work folder for all changes."""
    assert old in CONFIG
    file = folder / "config.toml"
    file.write_text(CONFIG.replace(old, new))
    config = read_config(file)
    splits = read_splits(data, config.calibration_rows, config.seed)
    return Networks(config, splits, folder / "work", machine=MACHINE, console=Console(quiet=True))


def test_a_work_folder_of_another_configuration_is_refused(data, tmp_path):
    def networks(seed: int) -> Networks:
        return changed(data, tmp_path, "seed = 5", f"seed = {seed}")

    first = networks(5)
    for teacher in first.config.teachers:
        first.teacher(teacher)
    other = networks(6)
    other.teacher(other.config.teachers[0])  # this teacher is the same in both configurations
    with pytest.raises(TrainingError, match="teachers/two was made with another configuration or other data"):
        other.teacher(other.config.teachers[1])


def test_teachers_answer_the_same_texts_only_once(data, tmp_path):
    def networks(copies: int) -> Networks:
        return changed(data, tmp_path, "copies = { emotion = 1 }", f"copies = {{ emotion = {copies} }}")

    answers = tmp_path / "work/teachers/two/answers.npz"
    said = networks(1).targets()
    asked = answers.stat().st_mtime_ns
    again = networks(1).targets()
    assert answers.stat().st_mtime_ns == asked
    assert {head: values.tolist() for head, values in again.items()} == {h: v.tolist() for h, v in said.items()}
    more = networks(2).targets()
    assert answers.stat().st_mtime_ns > asked
    assert len(more["emotion"]) > len(said["emotion"])


def test_only_a_package_is_replaced(data, tmp_path):
    (tmp_path / "precious.txt").write_text("thesis")
    with pytest.raises(TrainingError, match="exists already and is not a package"):
        train(data, work=tmp_path / "work", out=tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "thesis"


class Killed(BaseException):
    """Takes the place of SIGKILL, so the code under test must not catch it."""


def trainer(
    data: Path, folder: Path, die_after: int | None = None, scores: Sequence[float] | None = None, **recipe: object
) -> tuple[Trainer, object]:
    """Returns a trainer of a network with one layer. `scores` are the scores of its epochs, whatever it learns."""
    splits = read_splits(data, CALIBRATION, 17)
    torch.manual_seed(17)
    net = network.EmotionNet(network.with_layers(encoders.pretrained("minilm-l6"), (0,)))
    steps = 0
    given = iter(scores or ())

    class Mortal(Trainer):
        def _step(self, *args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == die_after:
                raise Killed
            return super()._step(*args, **kwargs)

    return (
        Mortal(
            net,
            splits.train,
            splits.calibration,
            tokenizer=encoders.tokenizer(32),
            recipe=Recipe(**{"epochs": 2, "batch_size": 32, **recipe}),
            machine=Machine(threads=1, checkpoint_minutes=0),
            folder=folder,
            fingerprint=str(recipe),
            score=lambda logits, held_out: next(given) if scores else -calibrated_loss(logits, held_out),
            console=Console(quiet=True),
        ),
        net,
    )


@pytest.mark.parametrize("average", [0.0, 0.3])
def test_a_killed_run_that_continues_ends_with_the_same_weights(data, tmp_path, average):
    whole, expected = trainer(data, tmp_path / "whole", average=average)
    whole.train()
    killed, _ = trainer(data, tmp_path / "killed", die_after=30, average=average)  # in the second epoch
    with pytest.raises(Killed):
        killed.train()
    resumed, found = trainer(data, tmp_path / "killed", average=average)
    run = resumed.train()
    assert len(run.losses) == 2
    for (name, a), b in zip(expected.state_dict().items(), found.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


Weights = dict[str, torch.Tensor]


def weights(data: Path, folder: Path, scores: Sequence[float], **recipe: object) -> Weights:
    """Returns the weights that a run of three epochs keeps."""
    run, net = trainer(data, folder, scores=scores, **{"epochs": 3, "patience": 3, **recipe})
    run.train()
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(a: Weights, b: Weights) -> bool:
    return all(torch.equal(value, b[key]) for key, value in a.items())


def test_a_full_run_keeps_the_last_weights_and_one_that_stops_early_the_best(data, tmp_path):
    end = weights(data, tmp_path / "rising", (1.0, 2.0, 3.0))
    # Every epoch continues from the previous one, also if that was worse.
    assert same(weights(data, tmp_path / "falling", (3.0, 2.0, 1.0)), end)
    first = weights(data, tmp_path / "stops", (3.0, 2.0), patience=1)
    assert not same(first, end)
    # A run that stopped early, and was killed before its result was saved.
    assert same(weights(data, tmp_path / "stops", (), patience=1), first)
    assert same(weights(data, tmp_path / "rising", ()), end)


def test_an_average_lies_between_the_weights_it_averages(data, tmp_path):
    end = weights(data, tmp_path / "plain", (1.0, 2.0, 3.0))
    averaged = weights(data, tmp_path / "averaged", (1.0, 2.0, 3.0), average=0.5)
    start = dict(trainer(data, tmp_path / "start")[1].state_dict())

    def distance(a: Weights, b: Weights) -> float:
        return float(sum((a[key] - b[key]).float().pow(2).sum() for key in a if a[key].is_floating_point())) ** 0.5

    assert 0 < distance(averaged, end) < 0.5 * distance(start, end)


def test_a_checkpoint_of_another_recipe_is_refused(data, tmp_path):
    one, _ = trainer(data, tmp_path, die_after=3)
    with pytest.raises(Killed):
        one.train()
    assert (tmp_path / STATE).exists()
    other, _ = trainer(data, tmp_path, learning_rate=1e-3)
    with pytest.raises(TrainingError, match="with another configuration or other data"):
        other.train()


def test_the_encoder_of_the_jar_is_that_of_its_onnx_file(data):
    splits: Examples = read_splits(data, CALIBRATION, 17).validation
    for name in encoders.NAMES:
        encoder = encoders.pretrained(name).eval()
        assert encoder.config.hidden_size == 384
        net = network.EmotionNet(encoder)
        assert logits_of(net, splits.texts[:4], encoders.tokenizer(32))["emotion"].shape == (4, 8)


def test_pruning_changes_no_answer_where_the_tokens_stay(data):
    splits = read_splits(data, CALIBRATION, 17)
    torch.manual_seed(1)
    net = network.EmotionNet(network.with_layers(encoders.pretrained("minilm-l6"), (0,)))
    full = encoders.tokenizer(32)
    before = logits_of(net, splits.train.texts, full)
    kept = vocabulary.kept_ids(full, splits.train.texts, first=2_000, min_count=1)
    small = vocabulary.pruned_tokenizer(full, kept)
    vocabulary.prune(net, kept)
    assert len(kept) < 8_000
    after = logits_of(net, splits.train.texts, small)
    assert after["emotion"] == pytest.approx(before["emotion"], abs=1e-5)
    # Every word of known characters still has tokens.
    assert small.token_to_id("[UNK]") not in small.encode("volcanic hippopotamus zyzzyva über naïve").ids
    assert small.encode("").ids == [small.token_to_id("[CLS]"), small.token_to_id("[SEP]")]
    assert np.array_equal(kept, np.unique(kept))
