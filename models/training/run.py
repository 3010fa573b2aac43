"""A whole training run: from data sets to a sealed package."""

import shutil
import tempfile
from pathlib import Path

import torch
from rich.console import Console

from models.classifier import OnnxClassifier
from models.cores import available_cores
from models.package import MANIFEST, ModelPackage, load_package
from models.training import encoders
from models.training.card import Provenance, Stage, model_card
from models.training.config import DEFAULT_CONFIG, Student, TrainingConfig, read_config
from models.training.data import SET_NAMES, Splits, read_splits
from models.training.evaluate import evaluate
from models.training.loop import Machine
from models.training.metrics import headline
from models.training.networks import Networks
from models.training.packaging import Packer, Parts
from models.training.questions import read_sets
from models.training.report import Report, summary_table, tier_table


def run_training(
    *,
    data: Path,
    config_file: Path | None,
    work: Path,
    out: Path,
    replace: bool,
    threads: int | None,
    bf16: bool | None,
    compiled: bool,
    console: Console,
) -> ModelPackage:
    """Train what is not trained yet, and write the package.

    Args:
        data: Folder of the data sets.
        config_file: What to train; None is the bundled model's own configuration.
        work: Where checkpoints and finished networks are kept.
        out: Folder of the package.
        replace: Whether a package that is there may be replaced.
        threads: Threads to compute with; None is one for each core.
        bf16: Matrix products in bfloat16; None is where the processor has them.
        compiled: Whether to use torch.compile.
        console: Where progress and figures are shown.

    Returns:
        The package.

    Raises:
        OSError: A file cannot be read or written, or an encoder not fetched.
        ValueError: The configuration or a data set is malformed, or `out` holds a package.
        ModelError: The result does not make a package.
    """
    if (out / MANIFEST).exists() and not replace:
        raise ValueError(f"{out} holds a package already; --replace replaces it")
    config = read_config(config_file or DEFAULT_CONFIG)
    splits = read_splits(data, config.calibration_rows, config.seed)
    machine = Machine(
        threads=threads or available_cores(),
        bf16=torch.cpu._is_avx512_bf16_supported() if bf16 is None else bf16,
        compiled=compiled,
    )
    networks = Networks(config, splits, work, machine=machine, console=console)
    for teacher in config.teachers:
        networks.teacher(teacher)
    student = networks.student()
    first_tier = networks.first_tier(config.first_tier) if config.first_tier else None
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as staging:
        folder = Path(staging, "package")
        folder.mkdir()
        packer = Packer(
            Parts(config, splits, networks.tokenizer, student, first_tier),
            folder,
            threads=machine.threads,
            console=console,
        )
        packer.networks()
        tiers, _ = packer.calibrated()
        package = packer.golden(tiers)
        report = _evaluated(package, data, machine.threads, console)
        card = model_card(package.manifest, report, _provenance(networks, config, splits, machine))
        packer.seal(tiers, card=card, metrics=report.metrics())
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    console.print(f"wrote {out}")
    return load_package(out)


def _evaluated(package: ModelPackage, data: Path, threads: int, console: Console) -> Report:
    report = evaluate(OnnxClassifier.load(package, threads=threads), read_sets(data, "validation"))
    console.print(summary_table(report))
    if len(package.manifest.tiers) > 1:
        console.print(tier_table(report))
    return report


def _provenance(networks: Networks, config: TrainingConfig, splits: Splits, machine: Machine) -> Provenance:
    used = dict.fromkeys([*(teacher.encoder for teacher in config.teachers), config.student.encoder])
    together = headline(networks.teachers_say(splits.validation), splits.validation)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in together.items())
    teachers = [
        _stage(
            networks,
            f"teachers/{teacher.name}",
            teacher.recipe.seed,
            base=str(encoders.BASES[teacher.encoder]),
            learns="labels",
        )
        for teacher in config.teachers
    ]
    student = _stage(
        networks,
        "student",
        config.student.recipe.seed,
        base=_layers(config.student),
        learns="labels, and what the teachers say of every text",
    )
    first_tier = None
    if config.first_tier:
        first_tier = _stage(
            networks,
            "first-tier",
            config.first_tier.recipe.seed,
            base="the first teacher's word vectors",
            learns="as the student",
        )
    return Provenance(
        teachers=tuple(teachers),
        student=student,
        first_tier=first_tier,
        rows={name: len(splits.train.of(name)) for name in SET_NAMES},
        calibration_rows={name: len(splits.calibration.of(name)) for name in SET_NAMES},
        base_licences={encoders.BASES[name].title: encoders.BASES[name].licence for name in used},
        machine=f"{machine.threads} CPU cores{', in bfloat16' if machine.bf16 else ''}",
        notes=(f"The teachers' average, which is what was distilled, on the same posts: {figures}.",),
    )


def _stage(networks: Networks, folder: str, seed: int, *, base: str, learns: str) -> Stage:
    run, figures = networks.measured(folder)
    return Stage(
        name=Path(folder).name,
        base=base,
        epochs=len(run.losses),
        minutes=run.seconds / 60,
        seed=seed,
        learns=learns,
        figures=figures,
    )


def _layers(student: Student) -> str:
    title = str(encoders.BASES[student.encoder])
    return title if student.layers is None else f"{len(student.layers)} layers of {title}"
