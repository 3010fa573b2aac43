"""The systems that are compared: how each is started, and what is known of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class System:
    """A system.

    Attributes:
        name: for the command line.
        title: for tables.
        module: what `python -m` runs.
        arguments: for it.
        needs: distributions that must be installed, the first of which gives the version that is reported.
        guarantee: what happens to posts in flight at a crash.
        divisor: it is given so many times fewer posts than the fast ones, so that its run is not many times as long.
        own_model: it has another model, so its labels are not compared.
        as_they_come: the model runs on the posts of a batch in their order, so many at a time, padded to the longest,
            as frameworks' examples do; else by `models.classifier`, sorted by length and bounded by tokens.
        optional: runs only where it is asked for by name or with `all`.
    """

    name: str
    title: str
    module: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    guarantee: str = "at least once"
    divisor: int = 1
    own_model: bool = False
    as_they_come: bool = False
    optional: bool = False


BARE = System("bare", "the model alone, no Kafka", "benchmarks.peers.bare", guarantee="none")
OURS = System("emostream", "emostream worker", "streams", ("worker",), ("emostream",), "no loss; windows exactly once")


def _twice(system: System) -> tuple[System, System]:
    """A framework that takes batches: with the model called in the usual way, and with our way as a library."""
    own = f"{system.title.partition(',')[0]} + models.classifier"
    return replace(system, as_they_come=True), replace(system, name=f"{system.name}-classifier", title=own)


SYSTEMS = (
    BARE,
    OURS,
    *_twice(
        System(
            "bytewax",
            "Bytewax, flat_map_batch",
            "bytewax.run",
            ("benchmarks.peers.bytewax_flow",),
            ("bytewax",),
            "starts anew: no recovery store",
        )
    ),
    *_twice(System("quixstreams", "Quix Streams, batches", "benchmarks.peers.quix_batch", (), ("quixstreams",))),
    *_twice(
        System(
            "pathway",
            "Pathway, batch UDF",
            "benchmarks.peers.pathway_udf",
            (),
            ("pathway",),
            "starts anew: no persistence",
        )
    ),
    System(
        "faust",
        "Faust agent, one at a time",
        "benchmarks.peers.faust_one",
        ("worker", "--without-web", "-l", "warn"),
        ("faust-streaming",),
        divisor=4,
    ),
    System(
        "confluent",
        "confluent-kafka, one at a time",
        "benchmarks.peers.confluent_one",
        (),
        ("confluent-kafka",),
        "may lose posts in flight",
        divisor=4,
    ),
    System(
        "distilbert",
        "DistilBERT INT8, one at a time",
        "benchmarks.peers.distilbert_one",
        (),
        ("confluent-kafka",),
        "may lose posts in flight",
        divisor=20,
        own_model=True,
    ),
    System(
        "faust-take",
        "Faust agent, stream.take",
        "benchmarks.peers.faust_take",
        ("worker", "--without-web", "-l", "warn"),
        ("faust-streaming",),
        "a batch that fails is lost",
        as_they_come=True,
        optional=True,
    ),
    System(
        "confluent-batch",
        "confluent-kafka by hand, batches",
        "benchmarks.peers.confluent_batch",
        (),
        ("confluent-kafka",),
        as_they_come=True,
        optional=True,
    ),
    System(
        "quixstreams-dataframe",
        "Quix Streams, StreamingDataFrame",
        "benchmarks.peers.quix_dataframe",
        (),
        ("quixstreams",),
        divisor=4,
        optional=True,
    ),
)
BY_NAME = {system.name: system for system in SYSTEMS}

_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
def found(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
versions = {name: found(name) for name in sys.argv[1:]}
try:
    from confluent_kafka import libversion
    versions["librdkafka"] = libversion()[0]
except ImportError:
    versions["librdkafka"] = None
print(json.dumps(versions))
"""


def choose(names: Sequence[str]) -> list[System]:
    """Systems by name, in their own order; `all` for all; no name for those that are not optional.

    The bare loop is always among them: labels and ratios are held against it.

    Raises:
        KeyError: there is none of a name.
    """
    if "all" in names:
        return list(SYSTEMS)
    wanted = {BY_NAME[name] for name in names}
    return [s for s in SYSTEMS if s is BARE or (s in wanted if names else not s.optional)]


RUNTIME = ("onnxruntime", "tokenizers")
"""What the model runs on; it should be the same for all."""

CLIENT = ("confluent-kafka", "librdkafka")
"""What most of them reach Kafka through."""


class PythonError(Exception):
    """There is no Python where one was named."""


@dataclass(frozen=True)
class Installed:
    """A system that can run.

    Attributes:
        system: which.
        python: with which interpreter.
        version: of its library; None where it has none.
        runtime: versions of `RUNTIME` there.
        client: versions of `CLIENT` there, whether it uses them or not.
    """

    system: System
    python: Path
    version: str | None
    runtime: tuple[str | None, ...]
    client: tuple[str | None, ...]

    @property
    def beside_us(self) -> bool:
        """Whether it runs with the same Python as ourselves."""
        return self.python == Path(sys.executable)


def clients(installed: Sequence[Installed]) -> dict[str, str]:
    """The versions of `CLIENT`, as settings of the benchmark: ours, and the peers' where one of them runs."""
    found: dict[str, str] = {}
    for each in installed:
        suffix = "" if each.beside_us else " of the peers"
        found |= {f"{name}{suffix}": version or "none" for name, version in zip(CLIENT, each.client, strict=True)}
    return found


def find_installed(systems: Sequence[System], peers_python: Path | None) -> tuple[list[Installed], list[System]]:
    """Those that can run, and those that cannot.

    What is installed beside ourselves runs with the same Python as ourselves; the others with the peers'.

    Raises:
        PythonError: `peers_python` is none.
    """
    found, missing = [], []
    names = sorted({*RUNTIME, "confluent-kafka", *(name for system in systems for name in system.needs)})
    pythons = [Path(sys.executable), *([peers_python] if peers_python else [])]
    versions = {python: _versions(python, names) for python in pythons}
    for system in systems:
        for python, known in versions.items():
            if all(known.get(name) for name in system.needs):
                version = known[system.needs[0]] if system.needs else None
                runtime, client = (tuple(known[name] for name in group) for group in (RUNTIME, CLIENT))
                found.append(Installed(system, python, version, runtime, client))
                break
        else:
            missing.append(system)
    return found, missing


def _versions(python: Path, names: Sequence[str]) -> Mapping[str, str | None]:
    try:
        done = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
        versions: dict[str, str | None] = json.loads(done.stdout)
    except subprocess.CalledProcessError as exc:
        said = str(exc.stderr).strip().splitlines() or [f"it ended with exit code {exc.returncode}"]
        raise PythonError(f"{python} is no Python that works: {said[-1]}") from exc
    except (OSError, ValueError) as exc:
        raise PythonError(f"{python} is no Python that works: {exc}") from exc
    return versions
