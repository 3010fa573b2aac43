"""What a core buys: emostream against other stream processors, all with the same model, posts and broker.

    python benchmarks/bench_systems.py --data DATA
    python benchmarks/bench_systems.py --systems emostream --systems bytewax --rounds 5 --json systems.json

Starts Kafka and Valkey of its own. Every system works off posts that lie ready in Kafka, in turns, round by round; then
posts come at 25, 50 and 75 % of the rate that it has shown. Its results are read back from Kafka and checked: every
post once, with the label that the bare loop gives. docs/benchmarks.md explains the figures.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
from confluent_kafka import KafkaException

from benchmarks import distilbert
from benchmarks.bench_frontier import DEFAULT_DATA, ROOT, describe_machine
from benchmarks.harness.broker import Broker, BrokerError
from benchmarks.harness.posts import make_posts, read_texts
from benchmarks.harness.program import CAN_PIN, ProgramError
from benchmarks.harness.report import Comparison, Latency, Measured, Throughput, markdown
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.systems import BARE, BY_NAME, RUNTIME, Installed, choose, find_installed
from benchmarks.harness.trial import Bench, TrialError
from connectors.errors import ConnectorError
from models.cores import available_cores
from models.errors import ModelError
from models.package import bundled_package_path, load_package
from streams.cli.common import progress_console

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SHARES = (0.25, 0.5, 0.75)
NO_MEASUREMENT = (TrialError, ProgramError, BrokerError, ConnectorError, KafkaException, ValueError)


@dataclass
class Runs:
    """What has been measured of a system so far."""

    installed: Installed
    throughput: list[Throughput] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def maximum(self) -> float:
        """Posts a second, the median of its rounds."""
        return statistics.median(run.per_second for run in self.throughput)

    def measured(self) -> Measured:
        """All of it."""
        system = self.installed.system
        return Measured(
            name=system.name,
            title=system.title,
            version=self.installed.version,
            guarantee=system.guarantee,
            throughput=tuple(self.throughput),
            latency=tuple(self.latency),
            failures=tuple(self.failures),
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="../shared/data",
    help="Folder of the data sets: emotion/, goemotions/, tweets/; the posts' texts are their validation splits.",
)
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
    type=click.IntRange(min=1_000),
    default=10_000,
    show_default=True,
    help="Posts in a run of a system that takes batches; one that takes posts one at a time is given a quarter, "
    "the DistilBERT a twentieth.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs at full speed.")
@click.option(
    "--latency-seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="How long posts come at each of the three rates; 0 measures no latency.",
)
@click.option("--latency-rounds", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at each rate.")
@click.option(
    "--cores",
    type=click.IntRange(min=0),
    show_default="1, or 0 on a machine with one",
    help="Cores that the system has to itself, as many threads for its model, and the servers the others; 0 for no "
    "division.",
)
@click.option("--partitions", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=512, show_default=True, help="Posts in a batch at most.")
@click.option(
    "--wait-ms", type=click.IntRange(min=1), default=50, show_default=True, help="How long a batch waits to fill."
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
    help="Where the DistilBERT-shaped network is kept, and the systems' logs, each run in a folder of its own.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path, dir_okay=False), help="Write tables here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False), help="Draw a PNG here.")
def main(
    *,
    data: Path | None,
    names: tuple[str, ...],
    posts: int,
    rounds: int,
    latency_seconds: float,
    latency_rounds: int,
    cores: int | None,
    partitions: int,
    batch: int,
    wait_ms: int,
    peers_python: Path | None,
    work: Path,
    json_file: Path | None,
    markdown_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Compare emostream with other stream processors on this machine, and print the tables.

    All have the same ONNX model, tokenizer, posts, broker and cores. Leave the machine alone meanwhile: the defaults
    take about half an hour. The exit code is 1 where a system lost a post, gave one twice, or failed.
    """
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("there are no data sets at ../shared/data; name their folder: bench_systems.py --data DATA")
        return
    if plot_file is not None:
        try:
            from benchmarks.harness.plot import plot  # noqa: PLC0415 - loads matplotlib
        except ModuleNotFoundError as exc:
            raise click.ClickException("--plot needs matplotlib: pip install 'emostream[bench]'") from exc
    try:
        division = _divide(cores)
        installed, missing = _installed(names, peers_python, work)
        texts = read_texts(data or DEFAULT_DATA)
        package = load_package(bundled_package_path())
        machine = describe_machine()
        threads = len(division.system) or available_cores()
        with (
            tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder,
            Servers(Path(folder), division) as servers,
        ):
            broker = Broker(servers.endpoints.kafka_bootstrap, partitions)
            try:
                bench = Bench(
                    servers=servers,
                    broker=broker,
                    cores=division,
                    folder=_fresh(work / "logs"),
                    posts=make_posts(texts, posts),
                    texts=texts,
                    model=package.path,
                    network=work / "distilbert-int8.onnx",
                    threads=threads,
                    batch=batch,
                    wait_ms=wait_ms,
                    partitions=partitions,
                )
                runs = compare(bench, installed, rounds, latency_seconds, latency_rounds)
            finally:
                broker.close()
    except (ModelError, ConnectorError, OSError, *NO_MEASUREMENT) as exc:
        raise click.ClickException(str(exc)) from exc
    found = Comparison(
        machine=machine,
        settings={
            "posts": posts,
            "rounds": rounds,
            "cores for a system": len(division.system) or "all",
            "threads": threads,
            "batch": batch,
            "batch wait ms": wait_ms,
            "partitions": partitions,
            "seconds at each rate": latency_seconds,
        },
        model=f"{package.manifest.name} {package.manifest.version}",
        systems=tuple(run.measured() for run in runs),
        missing=tuple(missing),
    )
    _write(json_file, json.dumps(found.to_dict(), indent=2) + "\n")
    _write(markdown_file, markdown(found))
    if plot_file is not None:
        plot(found, plot_file)
    click.echo(markdown(found))
    if any(system.faults() for system in found.systems):
        raise SystemExit(1)


def compare(
    bench: Bench, installed: Sequence[Installed], rounds: int, latency_seconds: float, latency_rounds: int
) -> list[Runs]:
    """Everything, in rounds; whoever begins finds the machine as the last one left it, so everyone begins some time."""
    runs = [Runs(each) for each in installed]
    _tell("bare: finding the labels that all must give")
    bench.find_labels(next(each for each in installed if each.system is BARE))
    for number in range(1, rounds + 1):
        for run in _turned(runs, number):
            name = f"round {number} of {rounds}: {run.installed.system.name}"
            result = _tried(run, name, partial(bench.throughput, run.installed, number))
            if result is not None:
                run.throughput.append(result)
                cpu = sum(result.cpu_s.values())
                _tell(f"{name}: {result.per_second:,.0f} posts/s, {cpu:.3f} CPU s per 1,000, {_verdict(result)}")
    for number in range(1, latency_rounds + 1) if latency_seconds else ():
        for run in _turned([run for run in runs if run.throughput and run.installed.system is not BARE], number):
            for share in SHARES:
                name = f"{100 * share:.0f} % of its rate: {run.installed.system.name}"
                paced = _tried(run, name, partial(_paced, bench, run, share, latency_seconds))
                if paced is not None:
                    run.latency.append(paced)
                    times = f"p50 {paced.p50:,.0f}, p95 {paced.p95:,.0f}, p99 {paced.p99:,.0f} ms"
                    _tell(f"{name}: {times}, {_verdict(paced)}")
    return runs


def _paced(bench: Bench, run: Runs, share: float, seconds: float) -> Latency:
    return bench.latency(run.installed, share, run.maximum, seconds)


def _tried(run: Runs, name: str, measure: Callable[[], Any]) -> Any:  # noqa: ANN401 - a Throughput or a Latency
    """A measurement; None, noted, where it failed: the other systems go on."""
    try:
        return measure()
    except NO_MEASUREMENT as exc:
        run.failures.append(f"{name}: {exc}")
        _tell(f"{name}: FAILED: {exc}")
        return None


def _turned(runs: Sequence[Runs], number: int) -> list[Runs]:
    at = (number - 1) % max(1, len(runs))
    return [*runs[at:], *runs[:at]]


def _verdict(result: Throughput | Latency) -> str:
    check = result.check
    every = "every post once" if check.exactly_once else f"{check.lost} LOST, {check.duplicated} TWICE"
    return every if check.agreement is None else f"{every}, {100 * check.agreement:.2f} % same labels"


def _divide(cores: int | None) -> Cores:
    if not CAN_PIN:
        return Cores()
    allowed = os.sched_getaffinity(0)
    return Cores.split(allowed, min(1, len(allowed) - 1) if cores is None else cores)


def _installed(names: Sequence[str], peers_python: Path | None, work: Path) -> tuple[list[Installed], list[str]]:
    """What can run, and the titles of what cannot, which is told."""
    python = peers_python or (PEERS_PYTHON if PEERS_PYTHON.is_file() else None)
    installed, lacking = find_installed(choose(names), python)
    missing = [system.title for system in lacking]
    if lacking:
        packages = sorted({name for system in lacking for name in system.needs})
        _tell(f"without {', '.join(packages)}: not installed; `make setup-peers` does it")
    for each in installed:
        if each.runtime != installed[0].runtime:
            _tell(
                f"{each.system.name} has other versions of {' and '.join(RUNTIME)} than the bare loop: not a fair race"
            )
    if any(each.system.own_model for each in installed):
        try:
            distilbert.build(work / "distilbert-int8.onnx")
        except ModuleNotFoundError as exc:
            _tell(f"without DistilBERT: building it needs {exc.name}: pip install 'emostream[bench]'")
            missing += [each.system.title for each in installed if each.system.own_model]
            installed = [each for each in installed if not each.system.own_model]
    return installed, missing


def _tell(line: str) -> None:
    progress_console().print(line, soft_wrap=True, markup=False)


def _fresh(folder: Path) -> Path:
    """A new folder below this one; the last runs' logs stay."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=folder))


def _write(file: Path | None, text: str) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
