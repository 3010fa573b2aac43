"""Helpers that tests of a worker's model share: a worker reduced to its model, and packages with golden posts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.s3.client import S3
from models.package.folder import ModelPackage
from models.registry.publish import publish
from models.serving.metrics import ServedMetrics
from models.serving.served import ServedModel
from models.text.golden import write_golden
from models.text.onnx_classifier import OnnxClassifier
from streams.connections import model_source
from streams.metrics import Metrics
from streams.settings import Settings
from tests.helpers import make_settings
from tests.integration.registry_support import BUCKET, SECRET, URI, S3Server
from tests.tiny_model import network, tiny_package

KEY = "emotion/tiny/2.0.0/model.onnx"


class Worker:
    """The parts of a worker that serve its model."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.model = ServedModel(model_source(settings), ServedMetrics(self.metrics.model))

    @property
    def version(self) -> str:
        return self.model.current().manifest.version

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"emostream_model_{name}", {"languages": "*", **labels}) or 0.0

    def refusals(self) -> dict[str, float]:
        family = next(iter(self.metrics.model.refusals.collect()))
        return {s.labels["reason"]: s.value for s in family.samples if s.name.endswith("_total")}

    def serves(self) -> set[tuple[str, str, str]]:
        samples = next(iter(self.metrics.model.info.collect())).samples
        assert {sample.value for sample in samples} <= {1.0}
        return {(s.labels["name"], s.labels["version"], s.labels["channel"]) for s in samples}


def watch_settings(server: S3Server, cache: Path) -> Settings:
    """Returns the settings of a worker on the channel `latest`, where the tests publish."""
    return make_settings(
        s3_endpoint=server.config.endpoint,
        s3_access_key_id="key",
        s3_secret_access_key=SECRET,
        model_uri=URI,
        model_channel="latest",
        model_cache=cache,
        model_threads=1,
    )


def golden_package(
    folder: Path, version: str, *, strength: float = 3.0, golden_of: float | None = None
) -> ModelPackage:
    """Write a package with golden posts. A network of strength `golden_of` answers them; None for the package's own."""
    (folder / "golden").mkdir(parents=True)
    answers = {"model.onnx": network(strength=strength if golden_of is None else golden_of)}
    plain = OnnxClassifier.load(tiny_package(folder / "golden", version=version, networks=answers))
    write_golden(plain, ["buy good", "hello good", "groß bad"], folder / "golden.jsonl")
    shutil.rmtree(folder / "golden")
    networks = {"model.onnx": network(strength=strength)}
    return tiny_package(folder, version=version, networks=networks, golden="golden.jsonl")


@pytest.fixture(name="settings")
def settings_fixture(own_s3: S3Server, tmp_path: Path) -> Settings:
    return watch_settings(own_s3, tmp_path / "cache")


@pytest.fixture(name="worker")
def worker_fixture(settings: Settings) -> Iterator[Callable[..., Worker]]:
    """Returns a function that makes workers with a common cache."""
    made: list[Worker] = []

    def make(**overrides: object) -> Worker:
        made.append(Worker(settings.model_copy(update=overrides)))
        return made[-1]

    yield make
    for one in made:
        one.model.close()


@pytest.fixture(name="package")
def package_fixture(tmp_path: Path) -> Callable[..., ModelPackage]:
    """Returns a function that makes packages with golden posts."""

    def make(version: str, **more: float) -> ModelPackage:
        return golden_package(tmp_path / "packages" / version, version, **more)

    return make


@pytest.fixture(name="first")
def first_fixture(s3: S3, package: Callable[..., ModelPackage]) -> ModelPackage:
    """Version 1.0.0, published."""
    made = package("1.0.0")
    publish(made, URI, s3)
    return made


def changed_file(s3: S3, package: ModelPackage) -> None:
    """Change a byte of the model in the bucket."""
    content = bytearray((package.path / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    s3.put(BUCKET, KEY, bytes(content))
