"""What a core buys: emostream against other stream processors, all with the same model, posts and broker.

    python benchmarks/bench_systems.py --data DATA
    python benchmarks/bench_systems.py --systems emostream --systems bytewax --rounds 5

Starts Kafka and Valkey of its own. Every system works off posts that lie ready in Kafka, in turns, round by round; then
posts come at 25, 50 and 75 % of the rate that it has shown. Its results are read back from Kafka and checked: every
post once, with the label that the bare loop gives. JSON, tables and a chart are written to .emostream/bench/results, a
folder for each call. docs/benchmarks.md explains the figures.
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
from benchmarks.harness.broker import Broker
from benchmarks.harness.options import data_option
from benchmarks.harness.posts import Supply, read_texts
from benchmarks.harness.program import CAN_PIN
from benchmarks.harness.report import Comparison, markdown
from benchmarks.harness.results import Files
from benchmarks.harness.rounds import NO_MEASUREMENT, Runs, measure_latency, measure_speed, warm_up
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.systems import (
    BARE,
    BY_NAME,
    CLIENT,
    RUNTIME,
    Installed,
    PythonError,
    choose,
    clients,
    find_installed,
)
from benchmarks.harness.trial import Setup
from connectors.errors import ConnectorError
from models.errors import ModelError
from models.package.folder import ModelPackage, bundled_package_path, load_package
from streams.cli.common import progress_console
from streams.process.signals import exit_on_signals

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
LEAST_POSTS = 1_000
DISTILBERT_FILE = "distilbert-int8.onnx"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option(
    "--systems",
    "names",
    type=click.Choice([*BY_NAME, "all"]),
    multiple=True,
    help="May be repeated; without it all but the variants, which are: "
    f"{', '.join(name for name, system in BY_NAME.items() if system.optional)}. The bare loop always runs.",
)
@click.option(
    "--posts",
    type=click.IntRange(min=LEAST_POSTS),
    show_default="as the bare loop takes for --seconds",
    help="Posts in a run of a system that takes batches; one that takes posts one at a time is given a quarter, "
    "the DistilBERT a twentieth.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=35.0,
    show_default=True,
    help="How long the bare loop takes for a run's posts, about; its first tenth is not measured.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs at full speed.")
@click.option(
    "--latency-seconds",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="How long posts come at each of the three rates; 0 measures no latency.",
)
@click.option("--latency-rounds", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at each rate.")
@click.option(
    "--cores",
    type=click.IntRange(min=0),
    show_default="1, or 0 on a machine with one",
    help="1: a system has a core to itself, and the servers the others. 0: no division.",
)
@click.option("--partitions", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=512, show_default=True, help="Posts in a batch at most.")
@click.option(
    "--model-batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Of these, how many texts the model runs on at once in frameworks that call it on posts as they come: "
    "more of them hold more padding, and are slower.",
)
@click.option(
    "--wait-ms",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How long a batch waits to fill; emostream's by its own setting.",
)
@click.option(
    "--peers-python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    show_default=".venv-peers/bin/python",
    help="Python of the systems that are not installed beside emostream; `make setup-peers` makes it.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / ".emostream" / "bench",
    show_default=".emostream/bench",
    help="Where the DistilBERT-shaped network is kept, the systems' logs and the results, each call's in a folder of "
    "its own.",
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

    All have the same ONNX model, tokenizer, posts, broker and cores. Leave the machine alone meanwhile: the defaults
    take about forty minutes. The exit code is 1 where a system lost a post, gave one twice or with a wrong label, or
    failed.
    """
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("there are no data sets at ../shared/data; name their folder: bench_systems.py --data DATA")
        return
    try:
        division = _divide(cores)
        files = Files.choose(work / "results", json_file, markdown_file, plot_file)
        installed, missing = _installed(names, peers_python, work)
        texts = read_texts(data or DEFAULT_DATA)
        package = load_package(bundled_package_path())
        machine = describe_machine()
        runs = [Runs(each) for each in installed]
        with (
            exit_on_signals(),
            tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder,
            Servers(Path(folder), division) as servers,
        ):
            broker = Broker(servers.endpoints.kafka_bootstrap, partitions)
            try:
                setup = Setup(
                    servers=servers,
                    broker=broker,
                    cores=division,
                    folder=_fresh(work / "logs"),
                    model=package.path,
                    network=work / DISTILBERT_FILE,
                    batch=batch,
                    model_batch=model_batch,
                    wait_ms=wait_ms,
                    partitions=partitions,
                )
                bench = Bench(setup, Supply(texts))
                _tell("bare: finding the labels that all must give, and how many posts a run needs")
                rate = bench.calibrate(next(each for each in installed if each.system is BARE))
                count = posts or max(LEAST_POSTS, round(rate * seconds))
                _tell(f"{count:,} posts in a run: {count / rate:.0f} s of the bare loop, at {rate:,.0f} posts/s")
                warm_up(bench, runs, posts=count, tell=_tell)
                measure_speed(bench, runs, posts=count, rounds=rounds, tell=_tell)
                if latency_seconds:
                    measure_latency(bench, runs, seconds=latency_seconds, rounds=latency_rounds, tell=_tell)
            finally:
                broker.close()
        settings = {
            "posts": count,
            "rounds": rounds,
            "cores for a system": len(division.system) or "all",
            "batch": batch,
            "texts in a run of the model, where they are taken as they come": model_batch,
            "batch wait ms (but for emostream)": wait_ms,
            "partitions": partitions,
            "seconds at each rate": latency_seconds,
            **clients(installed),
        }
        found = Comparison(machine, settings, _named(package), tuple(run.measured() for run in runs), tuple(missing))
        click.echo(markdown(found))
        files.write(found)
    except (ModelError, ConnectorError, OSError, PythonError, *NO_MEASUREMENT) as exc:
        raise click.ClickException(str(exc)) from exc
    files.tell(found, _tell)
    if any(system.faults() for system in found.systems):
        raise SystemExit(1)


def _divide(cores: int | None) -> Cores:
    if cores is not None and cores > 1:
        raise click.UsageError(
            "--cores takes 0 or 1: emostream would divide itself into processes and the others would not, and the "
            "ratios would tell of that; bench_scaling.py measures several workers"
        )
    if not CAN_PIN:
        return Cores()
    allowed = os.sched_getaffinity(0)
    return Cores.split(allowed, min(1, len(allowed) - 1) if cores is None else cores)


def _installed(names: Sequence[str], peers_python: Path | None, work: Path) -> tuple[list[Installed], list[str]]:
    """What can run, and what cannot, each with the reason.

    Raises:
        PythonError: `peers_python` is none.
    """
    python = peers_python or (PEERS_PYTHON if PEERS_PYTHON.is_file() else None)
    installed, lacking = find_installed(choose(names), python)
    missing = [f"{system.title}: {', '.join(system.needs)} is not installed (make setup-peers)" for system in lacking]
    if any(each.system.own_model for each in installed):
        try:
            distilbert.build(work / DISTILBERT_FILE)
        except ModuleNotFoundError as exc:
            why = f"to build it, {exc.name} is not installed (pip install 'emostream[bench]')"
            missing += [f"{each.system.title}: {why}" for each in installed if each.system.own_model]
            installed = [each for each in installed if not each.system.own_model]
    for line in missing:
        _tell(f"left out: {line}")
    for each in installed:
        if each.runtime != installed[0].runtime:
            _tell(
                f"{each.system.name} has other versions of {' and '.join(RUNTIME)} than the bare loop: not a fair race"
            )
    for name, versions in zip(CLIENT, zip(*(each.client for each in installed), strict=True), strict=True):
        if len(set(versions)) > 1:
            _tell(f"{name} is not the same for all: {', '.join(sorted({version or 'none' for version in versions}))}")
    return installed, missing


def _named(package: ModelPackage) -> str:
    return f"{package.manifest.name} {package.manifest.version}"


def _tell(line: str) -> None:
    progress_console().print(line, soft_wrap=True, markup=False)


def _fresh(folder: Path) -> Path:
    """A new folder below this one; the last runs' logs stay."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=folder))


if __name__ == "__main__":
    main()
