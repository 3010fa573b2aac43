"""Fine-tune the emotion model and write it as a package.

    python -m models.training.fine_tune --data DATA --out models/bundled/emotion-minilm-l6 --replace

Train (or reuse a checkpoint), export, fuse, quantise, fit the temperature, measure the package as it is served, seal
it with its figures and its card, and move it into place.
"""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from tokenizers import Tokenizer

from models.classifier import OnnxClassifier
from models.normalize import NORMALIZATION_ID
from models.package import CARD, MANIFEST, MODEL, TOKENIZER, DataSource, Head, ModelPackage, write_package
from models.training import export
from models.training.activations import fix_scales
from models.training.card import model_card
from models.training.data import EMOTIONS, LabelledTexts, read_tsv, split_off, without
from models.training.evaluate import evaluate, fit_temperature, table
from models.training.loop import Recipe, TrainingRun, fine_tune, logits_of
from models.training.network import BASE_LICENCE, BASE_MODEL, EmotionNet, base_tokenizer, restored

NAME: Final = "emotion-minilm-l6"
HEAD: Final = "emotion"
LICENCE: Final = "Apache-2.0"
CALIBRATION_ROWS: Final = 800
# Texts that the scales of the activations are measured on; all tensors of all of them are held in memory at once.
SCALE_ROWS: Final = 256

_DATA_NAME = "dair-ai/emotion (Saravia et al. 2018)"
_DATA_TERMS = "for education and research"
_DATA_URL = "https://huggingface.co/datasets/dair-ai/emotion"
_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Splits:
    """What is trained on, what activation scales and temperature are fitted on, and what is measured on."""

    train: LabelledTexts
    calibration: LabelledTexts
    validation: LabelledTexts


def read_splits(folder: Path, seed: int) -> Splits:
    """Read ``emotion/train.tsv`` and ``emotion/validation.tsv``; the three splits share no text with the last.

    Raises:
        OSError: A file cannot be read.
        ValueError: A line is malformed.
    """
    validation = read_tsv(folder / HEAD / "validation.tsv", EMOTIONS)
    train, calibration = split_off(
        without(read_tsv(folder / HEAD / "train.tsv", EMOTIONS), validation), CALIBRATION_ROWS, seed
    )
    return Splits(train, calibration, validation)


def build_package(
    *, net: EmotionNet, run: TrainingRun, splits: Splits, recipe: Recipe, version: str, folder: Path, console: Console
) -> ModelPackage:
    """Turn a trained network into a sealed package in `folder`, which must be empty."""
    tokenizer = base_tokenizer(recipe.max_tokens)
    with tempfile.TemporaryDirectory() as scratch:
        plain, fused = Path(scratch, "plain.onnx"), Path(scratch, "fused.onnx")
        export.export(net, HEAD, plain)
        console.print("fused:", export.fuse(plain, fused, net))
        export.quantize(fused, folder / MODEL)
        feeds = [_feed(tokenizer, text) for text in splits.calibration.texts[:SCALE_ROWS]]
        fix_scales(fused, folder / MODEL, feeds, recipe.threads)
    tokenizer.save(str(folder / TOKENIZER))
    shutil.copyfile(Path(__file__).parent / "licences" / "Apache-2.0.txt", folder / "LICENSE")

    def seal(temperature: float, card: str, metrics: dict[str, float]) -> ModelPackage:
        (folder / CARD).write_text(card, encoding="utf-8")
        return write_package(
            folder,
            name=NAME,
            version=version,
            created_at=datetime.now(UTC).replace(microsecond=0),
            base_model=f"{BASE_MODEL} ({BASE_LICENCE})",
            licence=LICENCE,
            training_data=[DataSource(name=_DATA_NAME, licence=_DATA_TERMS, url=_DATA_URL, rows=len(splits.train))],
            normalization=NORMALIZATION_ID,
            max_tokens=recipe.max_tokens,
            heads=[Head(name=HEAD, labels=EMOTIONS, output=HEAD, temperature=temperature)],
            metrics=metrics,
            files=[MODEL, TOKENIZER, CARD, "LICENSE"],
        )

    # Sealed three times: to be able to calibrate it, to measure it calibrated, and with what was measured.
    draft = OnnxClassifier.load(seal(1.0, "draft", {}), threads=recipe.threads)
    temperature = fit_temperature(
        draft.classify(splits.calibration.texts)[HEAD], np.asarray(splits.calibration.targets)
    )
    calibrated = OnnxClassifier.load(seal(temperature, "draft", {}), threads=recipe.threads)
    evaluation = evaluate(calibrated, HEAD, splits.validation)
    console.print(table(evaluation, f"{NAME} {version}, INT8, validation"))
    guessed = logits_of(net, splits.validation.texts, tokenizer, _EVALUATION_BATCH).argmax(1)
    accuracy_fp32 = float((guessed == np.asarray(splits.validation.targets)).mean())
    card = model_card(
        name=NAME,
        version=version,
        licence=LICENCE,
        head=HEAD,
        labels=EMOTIONS,
        normalization=NORMALIZATION_ID,
        temperature=temperature,
        megabytes=(folder / MODEL).stat().st_size / 1e6,
        train_rows=len(splits.train),
        calibration_rows=len(splits.calibration),
        evaluation=evaluation,
        accuracy_fp32=accuracy_fp32,
        recipe=recipe,
        seconds=run.seconds,
    )
    metrics = evaluation.metrics(HEAD) | {f"{HEAD}.accuracy_fp32": round(accuracy_fp32, 4)}
    return seal(temperature, card, metrics)


def _feed(tokenizer: Tokenizer, text: str) -> dict[str, NDArray[np.int64]]:
    """The network's inputs for one normalised text, each int64[1, tokens]."""
    ids = np.asarray([tokenizer.encode(text).ids], np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data sets.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the package to write.")
@click.option("--replace", is_flag=True, help="Replace a package that is already there.")
@click.option("--package-version", default="1.0.0", show_default=True, help="Semantic version of the package.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Folder to keep the FP32 weights in.")
@click.option("--resume", is_flag=True, help="Do not train: take the weights from the checkpoint.")
@click.option("--epochs", default=Recipe.epochs, show_default=True)
@click.option("--learning-rate", default=Recipe.learning_rate, show_default=True)
@click.option("--seed", default=Recipe.seed, show_default=True)
@click.option("--threads", default=Recipe.threads, show_default=True)
@click.option("--bf16", is_flag=True, help="Matrix products in bfloat16; faster on CPUs with AVX512_BF16.")
def main(
    *,
    data: Path,
    out: Path,
    replace: bool,
    package_version: str,
    checkpoint: Path | None,
    resume: bool,
    epochs: int,
    learning_rate: float,
    seed: int,
    threads: int,
    bf16: bool,
) -> None:
    """Fine-tune MiniLM-L6 on the emotion data set, quantise it, measure it, and write the package."""
    console = Console()
    if (out / MANIFEST).exists() and not replace:
        raise click.UsageError(f"{out} holds a package already; --replace replaces it")
    if resume and checkpoint is None:
        raise click.UsageError("--resume needs --checkpoint")
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate, seed=seed, threads=threads, bf16=bf16)
    try:
        splits = read_splits(data, seed)
    except (OSError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc
    if resume and checkpoint is not None:
        net, run, recipe = load_checkpoint(checkpoint)
    else:
        net, run = fine_tune(splits.train, splits.calibration, base_tokenizer(recipe.max_tokens), recipe)
        if checkpoint is not None:
            save_checkpoint(checkpoint, net, run, recipe)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as staging:
        folder = Path(staging, "package")
        folder.mkdir()
        build_package(
            net=net,
            run=run,
            splits=splits,
            recipe=recipe,
            version=package_version,
            folder=folder,
            console=console,
        )
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    console.print(f"wrote {out}; trained for {run.seconds / 60:.1f} min")


def save_checkpoint(folder: Path, net: EmotionNet, run: TrainingRun, recipe: Recipe) -> None:
    """Keep the FP32 weights, and how they were made, so that the export can be repeated without training."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / "weights.pt")
    (folder / "run.json").write_text(
        json.dumps({"run": asdict(run), "recipe": asdict(recipe)}, indent=2), encoding="utf-8"
    )


def load_checkpoint(folder: Path) -> tuple[EmotionNet, TrainingRun, Recipe]:
    """Read back what `save_checkpoint` wrote; the network is in evaluation mode.

    Raises:
        click.ClickException: There is no checkpoint there.
    """
    try:
        saved = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        net = restored(folder / "weights.pt", len(EMOTIONS))
    except OSError as exc:
        raise click.ClickException(f"no checkpoint at {folder}: {exc.strerror}") from exc
    net.eval()
    return net, TrainingRun(**saved["run"]), Recipe(**saved["recipe"])


if __name__ == "__main__":
    main()
