"""A complete training run: from the data sets to a sealed package."""

import tempfile
from pathlib import Path

import torch
from rich.console import Console

from connectors.machine.cores import available_cores
from models.package.folder import ModelPackage, load_package, put_in_place
from models.package.manifest import MANIFEST
from models.text.onnx_classifier import OnnxClassifier
from models.training import encoders
from models.training.card import model_card
from models.training.config import DEFAULT_CONFIG, Student, read_config
from models.training.data import SET_NAMES, Splits, read_splits
from models.training.errors import TrainingError
from models.training.evaluate import evaluate
from models.training.loop import Machine
from models.training.metrics import headline
from models.training.networks import Networks
from models.training.packaging import PackageParts, Packer
from models.training.provenance import Provenance, Stage
from models.training.questions import read_sets
from models.training.report import Report, overview
from models.training.scaling import fit_scaling


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
    teacher: str | None = None,
) -> ModelPackage:
    """Train the stages that are not trained yet, and write the package.

    Args:
        data: The folder of the data sets.
        config_file: The configuration; None is that of the bundled model.
        work: The folder for checkpoints and finished networks.
        out: The folder of the package.
        replace: Whether an existing package in `out` may be replaced.
        threads: Number of threads; None is one per core.
        bf16: Whether to compute matrix products in bfloat16; None does if the processor supports it.
        compiled: Whether to use torch.compile.
        console: Shows the progress and the figures.
        teacher: Name of a teacher to pack alone, in FP32, instead of the student; None packs the student.

    Raises:
        OSError: A file cannot be read or written, or an encoder cannot be downloaded.
        TrainingError: The configuration or a data set is malformed, `out` is not empty, or the work folder has stages
            of another configuration.
        NotFusedError: The network's attention was not fused; see `export.fuse`.
        ModelError: The result is not a valid package.
    """
    _check_out(out, replace=replace)
    config = read_config(config_file or DEFAULT_CONFIG)
    splits = read_splits(data, config.calibration_rows, config.seed)
    console.print(
        f"{len(splits.train):,} posts to train on, {len(splits.calibration):,} to calibrate with; "
        f"{splits.dropped:,} left out, because they are in a validation split too"
    )
    machine = Machine(
        threads=threads or available_cores(),
        bf16=torch.cpu._is_avx512_bf16_supported() if bf16 is None else bf16,
        compiled=compiled,
    )
    networks = Networks(config, splits, work, machine=machine, console=console)
    parts = _model_parts(networks, splits) if teacher is None else _teacher_parts(networks, splits, teacher)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as staging:
        folder = Path(staging, "package")
        folder.mkdir()
        packer = Packer(parts, folder, threads=machine.threads, console=console)
        packer.write_networks()
        tiers = packer.calibrate()
        package = packer.write_golden_posts(tiers)
        report = _evaluated(package, data, parts.sets, machine.threads, console)
        provenance = None
        if teacher is None:
            provenance = _provenance(networks, splits, machine, cascade=len(tiers) > 1)
        packer.seal(tiers, card=model_card(package.manifest, report, provenance), metrics=report.metrics())
        put_in_place(folder, out, Path(staging, "replaced"))
    console.print(f"wrote {out}")
    return load_package(out)


def _model_parts(networks: Networks, splits: Splits) -> PackageParts:
    """Train all stages, and return the parts of the student's package."""
    config = networks.config
    for teacher in config.teachers:
        networks.teacher(teacher)
    return PackageParts(
        config,
        splits,
        name=config.package.name,
        encoder=config.student.encoder,
        network=networks.student(),
        first_tier=networks.first_tier(config.first_tier) if config.first_tier else None,
        tokenizer=networks.tokenizer,
    )


def _teacher_parts(networks: Networks, splits: Splits, name: str) -> PackageParts:
    """Train one teacher, and return the parts of its package."""
    known = {teacher.name: teacher for teacher in networks.config.teachers}
    if name not in known:
        raise TrainingError(f"the configuration has no teacher {name!r}; its teachers are: {', '.join(known)}")
    return PackageParts(
        networks.config,
        splits,
        name=name,
        encoder=known[name].encoder,
        network=networks.teacher(known[name]),
        first_tier=None,
        tokenizer=networks.full_tokenizer,
        int8=False,
        sets=known[name].sets,
    )


def _check_out(out: Path, *, replace: bool) -> None:
    """Raise unless `out` is missing, an empty folder, or a package that may be replaced.

    Raises:
        TrainingError: Writing the package hours later would overwrite something else.
    """
    if (out / MANIFEST).exists():
        if not replace:
            raise TrainingError(f"{out} exists already; --replace replaces it")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} exists already and is not a package; choose another folder")


def _evaluated(package: ModelPackage, data: Path, sets: tuple[str, ...], threads: int, console: Console) -> Report:
    report = evaluate(OnnxClassifier.load(package, threads=threads), read_sets(data, "validation", sets))
    for table in overview(report):
        console.print(table)
    return report


def _provenance(networks: Networks, splits: Splits, machine: Machine, *, cascade: bool) -> Provenance:
    """Returns how the package was trained; without the first tier if the package has none."""
    config = networks.config
    used = dict.fromkeys([*(teacher.encoder for teacher in config.teachers), config.student.encoder])
    # The teachers are scaled as the package's tiers are. Otherwise the comparison would show the effect of the biases.
    calibration = splits.calibration
    scaling = fit_scaling(networks.teacher_mean(calibration), calibration, ridge=config.scaling.ridge)
    together = headline(scaling.of(networks.teacher_mean(splits.validation)), splits.validation)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in together.items())
    teachers = [
        _stage(
            networks,
            f"teachers/{teacher.name}",
            teacher.recipe.seed,
            base=str(encoders.BASES[teacher.encoder]),
            learns=f"labels of {', '.join(teacher.sets)}",
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
    if cascade and config.first_tier:
        first_tier = _stage(
            networks,
            "first-tier",
            config.first_tier.recipe.seed,
            base=f"the word vectors of {config.general_teacher.name}",
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
        notes=(f"The teachers' average, which was distilled, with biases of its own, on the same posts: {figures}.",),
    )


def _stage(networks: Networks, folder: str, seed: int, *, base: str, learns: str) -> Stage:
    run, figures = networks.stage_result(folder)
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
