"""Several models are served side by side: each is loaded once, and a batch gets them as they are at one moment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from models.errors import ModelError
from models.serving import steps
from models.serving.metrics import ModelMetrics
from models.serving.served import ServedModel, StoppedError
from models.serving.served_models import ServedModels
from models.serving.steps import ModelRefusedError
from streams.connections import language_model_sources, model_source
from tests.helpers import make_settings
from tests.tiny_model import spanish_package, tiny_package

Make = Callable[[str], ServedModels]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def make(tmp_path: Path, registry: CollectorRegistry) -> Make:
    """Returns a function that makes served models of packages in folders, from a setting with `DIR` for the folder."""
    tiny_package(tmp_path / "main", languages=["en"])
    spanish_package(tmp_path / "iberian", languages=["es", "pt"])

    def served(models: str) -> ServedModels:
        settings = make_settings(
            model_uri=str(tmp_path / "main"), models=models.replace("DIR", str(tmp_path)) or (), model_threads=1
        )
        return ServedModels(model_source(settings), language_model_sources(settings), ModelMetrics(registry))

    return served


def serves(registry: CollectorRegistry) -> set[tuple[str, str]]:
    """Returns the languages and the name of each model that the metrics say to serve."""
    (family,) = [family for family in registry.collect() if family.name == "emostream_model_info"]
    return {(sample.labels["languages"], sample.labels["name"]) for sample in family.samples}


def test_a_model_of_several_languages_is_loaded_once(
    make: Make, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = steps.OnnxClassifier.load
    monkeypatch.setattr(steps.OnnxClassifier, "load", lambda *given, **more: loads.append(1) or load(*given, **more))
    models = make("es=DIR/iberian,pt=DIR/iberian")
    models.start()
    now = models.current()
    assert [model.name for model in now.all] == ["tiny", "spanish"]
    assert now.by_language["es"] is now.by_language["pt"]
    assert len(loads) == 2
    assert serves(registry) == {("*", "tiny"), ("es,pt", "spanish")}
    assert models.watched == [], "folders never change"


def test_the_main_model_may_be_configured_for_a_language_too(make: Make, registry: CollectorRegistry) -> None:
    models = make("en=DIR/main,es=DIR/iberian")
    models.start()
    now = models.current()
    assert now.by_language["en"] is now.main
    assert serves(registry) == {("*", "tiny"), ("es", "spanish")}


@pytest.mark.parametrize(
    ("setting", "warnings"), [("pt=DIR/iberian", []), ("pt=DIR/iberian,es=DIR/same", ["tiny and spanish"])]
)
def test_models_of_one_version_are_named_in_a_warning(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str, warnings: list[str]
) -> None:
    spanish_package(tmp_path / "same", version="1.0.0")
    make(setting).start()
    found = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.partition(" have the same version 1.0.0")[0] for line in found] == warnings


def test_one_model_is_the_main_one(make: Make) -> None:
    models = make("")
    models.start()
    assert (len(models.current().all), dict(models.current().by_language)) == (1, {})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hi=DIR/iberian", r"spanish 2\.0\.0 is configured for hi, .*; it reads es, pt"),
        ("es=DIR/iberian,fr=DIR/iberian", r"is configured for fr, which its manifest does not list"),
        ("es=DIR/main", r"tiny 1\.0\.0 is configured for es"),
    ],
)
def test_a_model_that_does_not_read_its_language_is_refused_at_the_start(
    make: Make, registry: CollectorRegistry, setting: str, message: str
) -> None:
    models = make(setting)
    with pytest.raises(ModelRefusedError, match=message) as refusal:
        models.start()
    assert refusal.value.reason == "languages"
    with pytest.raises(RuntimeError, match="no model has been loaded"):
        models.current()


def test_a_model_that_does_not_exist_stops_the_start(make: Make) -> None:
    with pytest.raises(ModelError, match=r"no model package at .*nowhere"):
        make("es=DIR/nowhere").start()


def test_a_start_that_is_cancelled_loads_no_further_model(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    models = make("es=DIR/iberian")
    started: list[ServedModel] = []

    def start(model: ServedModel) -> None:
        started.append(model)
        models.cancel()

    monkeypatch.setattr(ServedModel, "start", start)
    with pytest.raises(StoppedError):
        models.start()
    assert len(started) == 1


def test_the_languages_of_one_model_agree_while_it_is_replaced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is replaced whenever it is asked for, so two questions for one batch would have different answers."""
    models = make("es=DIR/iberian,pt=DIR/iberian")
    monkeypatch.setattr(ServedModel, "current", lambda _self: object())
    batch = models.current()
    assert batch.by_language["es"] is batch.by_language["pt"]
    assert models.current().by_language["es"] is not batch.by_language["es"]
