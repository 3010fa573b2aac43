"""Compares emostream with other stream processors. All have one core and the same model, posts and broker.

    python benchmarks/bench_systems.py --data DATA
    python benchmarks/bench_systems.py --systems emostream --systems bytewax --rounds 5

It starts its own Kafka and Valkey. In each round, every system processes a backlog of posts. Then each system gets
posts at 25, 50 and 75 % of its own maximum rate. The results are read back from Kafka and checked: each post once, with
the label of the bare loop, which is the model alone. JSON, tables and a chart go to a new folder in
.emostream/bench/results. docs/benchmarks.md explains the figures.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import distilbert
from benchmarks.bench_frontier import DEFAULT_DATA, ROOT, describe_machine
from benchmarks.harness.bench import Bench
from benchmarks.harness.broker import KafkaClient
from benchmarks.harness.options import data_option
from benchmarks.harness.posts import Supply, read_texts
from benchmarks.harness.program import CAN_PIN
from benchmarks.harness.report import Comparison, markdown
from benchmarks.harness.results import Files
from benchmarks.harness.rounds import MEASUREMENT_ERRORS, Measurements, measure_latency, measure_speed, warm_up
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.systems import (
    BARE,
    BY_NAME,
    CLIENT_LIBRARIES,
    RUNTIME_LIBRARIES,
    InstalledSystem,
    PythonError,
    choose,
    client_versions,
    find_installed,
)
from benchmarks.harness.trial import Setup
from connectors.errors import ConnectorError
from models.errors import ModelError
from models.package.folder import ModelPackage, bundled_package_path, load_package
from streams.cli.common import progress_console
from streams.process.signals import exit_on_signals

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
MIN_POSTS = 1_000
DISTILBERT_FILE = "distilbert-int8.onnx"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option(
    "--systems",
    "names",
    type=click.Choice([*BY_NAME, "all"]),
    multiple=True,
    help="A system to run; may be repeated. The default is all systems but the variants "
    f"{', '.join(name for name, system in BY_NAME.items() if system.optional)}. The bare loop always runs.",
)
@click.option(
    "--posts",
    type=click.IntRange(min=MIN_POSTS),
    show_default="as many as the bare loop classifies in --seconds",
    help="Posts in a run. Systems that take one post at a time get a quarter of them, the DistilBERT a twentieth.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=35.0,
    show_default=True,
    help="How long the bare loop takes for the posts of a run, about. The first tenth of a run is not measured.",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each system at full speed."
)
@click.option(
    "--latency-seconds",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="How long posts are sent at each of the three rates; 0 measures no latency.",
)
@click.option(
    "--latency-rounds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs of each system at each rate.",
)
@click.option(
    "--cores",
    type=click.IntRange(min=0),
    show_default="1, or 0 on a machine with one",
    help="1: the system has one core, and the servers have the others. 0: all share all cores.",
)
@click.option(
    "--partitions", type=click.IntRange(min=1), default=4, show_default=True, help="Partitions of each topic."
)
@click.option("--batch", type=click.IntRange(min=1), default=512, show_default=True, help="Posts in a batch at most.")
@click.option(
    "--model-batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Texts in a model batch, for frameworks that classify posts in the order of arrival. A larger model batch "
    "has more padding, and is slower.",
)
@click.option(
    "--wait-ms",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How long a batch waits to fill. Emostream uses its own setting.",
)
@click.option(
    "--peers-python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    show_default=".venv-peers/bin/python",
    help="Python interpreter of the systems that are not installed in emostream's environment. `make setup-peers` "
    "makes that environment.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / ".emostream" / "bench",
    show_default=".emostream/bench",
    help="Folder of the DistilBERT-shaped network, the systems' logs and the results. Each call makes new folders for "
    "logs and results.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="systems.json with the results",
    help="Write JSON here.",
)
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="systems.md with the results",
    help="Write tables here.",
)
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="systems.png with the results",
    help="Draw a PNG here.",
)
def main(
    *,
    data: Path | None,
    names: tuple[str, ...],
    posts: int | None,
    seconds: float,
    rounds: int,
    latency_seconds: float,
    latency_rounds: int,
    cores: int | None,
    partitions: int,
    batch: int,
    model_batch: int,
    wait_ms: int,
    peers_python: Path | None,
    work: Path,
    json_file: Path | None,
    markdown_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Compare emostream with other stream processors on this machine, and print the tables.

    All have the same ONNX model, tokenizer, posts, broker and cores. With the defaults it takes about forty minutes.
    Run nothing else on the machine meanwhile. The exit code is 1 if a run failed, a post was lost or duplicated, or too
    many labels differ from the bare loop's.
    """
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("no data sets in ../shared/data; give their folder: bench_systems.py --data DATA")
        return
    try:
        division = _divide(cores)
        files = Files.choose(work / "results", json_file, markdown_file, plot_file)
        installed, missing = _installed(names, peers_python, work)
        texts = read_texts(data or DEFAULT_DATA)
        package = load_package(bundled_package_path())
        machine = describe_machine()
        systems = [Measurements(each) for each in installed]
        with (
            exit_on_signals(),
            tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder,
            Servers(Path(folder), division) as servers,
        ):
            kafka = KafkaClient(servers.endpoints.kafka_bootstrap, partitions)
            try:
                setup = Setup(
                    servers=servers,
                    kafka=kafka,
                    cores=division,
                    folder=_new_folder(work / "logs"),
                    model=package.path,
                    network=work / DISTILBERT_FILE,
                    batch=batch,
                    model_batch=model_batch,
                    wait_ms=wait_ms,
                    partitions=partitions,
                )
                bench = Bench(setup, Supply(texts))
                _print_line("bare: finding the expected labels and the number of posts in a run")
                rate = bench.calibrate(next(each for each in installed if each.system is BARE))
                count = posts or max(MIN_POSTS, round(rate * seconds))
                _print_line(f"{count:,} posts in a run, which the bare loop classifies in {count / rate:.0f} s")
                warm_up(bench, systems, posts=count, on_line=_print_line)
                measure_speed(bench, systems, posts=count, rounds=rounds, on_line=_print_line)
                if latency_seconds:
                    measure_latency(bench, systems, seconds=latency_seconds, rounds=latency_rounds, on_line=_print_line)
            finally:
                kafka.close()
        settings = {
            "posts": count,
            "rounds": rounds,
            "cores for a system": len(division.system) or "all",
            "batch": batch,
            "model batch (texts in the order of arrival)": model_batch,
            "batch wait ms (not emostream)": wait_ms,
            "partitions": partitions,
            "seconds at each rate": latency_seconds,
            **client_versions(installed),
        }
        summaries = tuple(system.summary() for system in systems)
        comparison = Comparison(machine, settings, _name_and_version(package), summaries, tuple(missing))
        click.echo(markdown(comparison))
        files.write(comparison)
    except (ModelError, ConnectorError, OSError, PythonError, *MEASUREMENT_ERRORS) as exc:
        raise click.ClickException(str(exc)) from exc
    files.report(comparison, _print_line)
    if any(system.faults() for system in comparison.systems):
        raise SystemExit(1)


def _divide(cores: int | None) -> Cores:
    if cores is not None and cores > 1:
        raise click.UsageError(
            "--cores takes 0 or 1: with more cores, emostream would run several processes and the other systems would "
            "not, so the results could not be compared; bench_scaling.py measures several workers"
        )
    if not CAN_PIN:
        return Cores()
    allowed = os.sched_getaffinity(0)
    return Cores.split(allowed, min(1, len(allowed) - 1) if cores is None else cores)


def _installed(names: Sequence[str], peers_python: Path | None, work: Path) -> tuple[list[InstalledSystem], list[str]]:
    """Returns the systems that can run, and a line for each system that cannot, with the reason.

    Raises:
        PythonError: `peers_python` is not a Python interpreter that works.
    """
    python = peers_python or (PEERS_PYTHON if PEERS_PYTHON.is_file() else None)
    installed, lacking = find_installed(choose(names), python)
    missing = [f"{system.title}: {', '.join(system.needs)} is not installed (make setup-peers)" for system in lacking]
    if any(each.system.own_model for each in installed):
        try:
            distilbert.build(work / DISTILBERT_FILE)
        except ModuleNotFoundError as exc:
            reason = f"building it needs {exc.name} (pip install 'emostream[bench]')"
            missing += [f"{each.system.title}: {reason}" for each in installed if each.system.own_model]
            installed = [each for each in installed if not each.system.own_model]
    for line in missing:
        _print_line(f"will not run: {line}")
    libraries = " and ".join(RUNTIME_LIBRARIES)
    for each in installed:
        if each.runtime != installed[0].runtime:
            _print_line(f"not a fair comparison: {each.system.name} and the bare loop have different {libraries}")
    for name, versions in zip(CLIENT_LIBRARIES, zip(*(each.client for each in installed), strict=True), strict=True):
        if len(set(versions)) > 1:
            different = ", ".join(sorted({version or "none" for version in versions}))
            _print_line(f"systems have different versions of {name}: {different}")
    return installed, missing


def _name_and_version(package: ModelPackage) -> str:
    return f"{package.manifest.name} {package.manifest.version}"


def _print_line(line: str) -> None:
    progress_console().print(line, soft_wrap=True, markup=False)


def _new_folder(folder: Path) -> Path:
    """Make a new folder in `folder`, so that earlier logs are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=folder))


if __name__ == "__main__":
    main()
