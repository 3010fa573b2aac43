"""The compared systems: how each is started, and which are installed.

The peers are the systems that emostream is compared with. Their libraries may be in a Python environment of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class System:
    """A compared system.

    Attributes:
        name: Its name on the command line.
        title: Its name in tables.
        module: The module that `python -m` runs.
        arguments: The module's arguments.
        needs: Distributions that must be installed. The report gives the version of the first.
        guarantee: What happens to posts in flight at a crash.
        divisor: The system gets this many times fewer posts than the fast systems, so that its run takes about as long.
        own_model: The system has another model, so its labels are not compared.
        arrival_order: The model gets the posts of a batch in the order of their arrival, a fixed number at a time, each
            padded to the longest. Frameworks' examples do this. If false, `models.text.onnx_classifier` sorts the batch
            by length and limits model batches by tokens.
        optional: The system runs only if it is named, or with `all`.
    """

    name: str
    title: str
    module: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    guarantee: str = "at least once"
    divisor: int = 1
    own_model: bool = False
    arrival_order: bool = False
    optional: bool = False


BARE = System("bare", "the model alone, no Kafka", "benchmarks.peers.bare", guarantee="none")
EMOSTREAM = System(
    "emostream", "emostream worker", "streams", ("worker",), ("emostream",), "no loss; windows exactly once"
)


def _with_classifier_variant(system: System) -> tuple[System, System]:
    """Returns a framework that takes batches twice.

    The first has texts in the order of arrival, the second calls `models.text.onnx_classifier`.
    """
    title = f"{system.title.partition(',')[0]} + models.text.onnx_classifier"
    return replace(system, arrival_order=True), replace(system, name=f"{system.name}-classifier", title=title)


SYSTEMS = (
    BARE,
    EMOSTREAM,
    *_with_classifier_variant(
        System(
            "bytewax",
            "Bytewax, flat_map_batch",
            "bytewax.run",
            ("benchmarks.peers.bytewax_flow",),
            ("bytewax",),
            "starts over: no recovery store",
        )
    ),
    *_with_classifier_variant(
        System("quixstreams", "Quix Streams, batches", "benchmarks.peers.quix_batch", (), ("quixstreams",))
    ),
    *_with_classifier_variant(
        System(
            "pathway",
            "Pathway, batch UDF",
            "benchmarks.peers.pathway_udf",
            (),
            ("pathway",),
            "starts over: no persistence",
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
        arrival_order=True,
        optional=True,
    ),
    System(
        "confluent-batch",
        "confluent-kafka by hand, batches",
        "benchmarks.peers.confluent_batch",
        (),
        ("confluent-kafka",),
        arrival_order=True,
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
    """Returns the named systems in the order of `SYSTEMS`.

    The name `all` stands for all systems. Without names, the result is all that are not optional. The bare loop is
    always included, because labels and ratios are compared with it.

    Raises:
        KeyError: No system has one of the names.
    """
    if "all" in names:
        return list(SYSTEMS)
    wanted = {BY_NAME[name] for name in names}
    return [s for s in SYSTEMS if s is BARE or (s in wanted if names else not s.optional)]


RUNTIME_LIBRARIES = ("onnxruntime", "tokenizers")
"""Distributions that run the model. Their versions should be the same for all systems."""

CLIENT_LIBRARIES = ("confluent-kafka", "librdkafka")
"""The Kafka client that most systems use."""


class PythonError(Exception):
    """The given Python interpreter does not work."""


@dataclass(frozen=True)
class InstalledSystem:
    """A system whose libraries are installed.

    Attributes:
        system: The system.
        python: The interpreter that runs it.
        version: Version of its library; None if it has none.
        runtime: Versions of `RUNTIME_LIBRARIES` in its environment.
        client: Versions of `CLIENT_LIBRARIES` in its environment, also if the system does not use them.
    """

    system: System
    python: Path
    version: str | None
    runtime: tuple[str | None, ...]
    client: tuple[str | None, ...]

    @property
    def in_benchmark_environment(self) -> bool:
        """Whether the system runs with the interpreter that runs the benchmark."""
        return self.python == Path(sys.executable)


def client_versions(installed: Sequence[InstalledSystem]) -> dict[str, str]:
    """Returns the versions of `CLIENT_LIBRARIES` for the report: of the benchmark's environment, and of the peers'."""
    found: dict[str, str] = {}
    for each in installed:
        suffix = "" if each.in_benchmark_environment else " of the peers"
        found |= {
            f"{name}{suffix}": version or "none" for name, version in zip(CLIENT_LIBRARIES, each.client, strict=True)
        }
    return found


def find_installed(systems: Sequence[System], peers_python: Path | None) -> tuple[list[InstalledSystem], list[System]]:
    """Returns the systems that can run, and those whose libraries are not installed.

    A system runs with the benchmark's interpreter if its libraries are there, and otherwise with `peers_python`.

    Raises:
        PythonError: `peers_python` is not a Python interpreter that works.
    """
    found, missing = [], []
    names = sorted({*RUNTIME_LIBRARIES, "confluent-kafka", *(name for system in systems for name in system.needs)})
    pythons = [Path(sys.executable), *([peers_python] if peers_python else [])]
    versions = {python: _versions(python, names) for python in pythons}
    for system in systems:
        for python, known in versions.items():
            if all(known.get(name) for name in system.needs):
                version = known[system.needs[0]] if system.needs else None
                runtime, client = (
                    tuple(known[name] for name in group) for group in (RUNTIME_LIBRARIES, CLIENT_LIBRARIES)
                )
                found.append(InstalledSystem(system, python, version, runtime, client))
                break
        else:
            missing.append(system)
    return found, missing


def _versions(python: Path, names: Sequence[str]) -> Mapping[str, str | None]:
    try:
        done = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
        versions: dict[str, str | None] = json.loads(done.stdout)
    except subprocess.CalledProcessError as exc:
        lines = str(exc.stderr).strip().splitlines() or [f"it ended with exit code {exc.returncode}"]
        raise PythonError(f"{python} is not a working Python interpreter: {lines[-1]}") from exc
    except (OSError, ValueError) as exc:
        raise PythonError(f"{python} is not a working Python interpreter: {exc}") from exc
    return versions
