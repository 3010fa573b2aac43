"""A Spanish model serves beside the main one. It has a registry and a channel of its own, which moves meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from connectors.s3 import client as s3_connector
from connectors.s3.client import S3
from models.errors import ModelError, ModelNotFoundError
from models.registry.channels import Release
from models.registry.location import registry_at
from models.registry.publish import promote, publish
from models.serving.served_models import ServedModels
from streams.cli.window_table import windows_table
from streams.connections import language_model_sources, model_source, s3_config
from streams.metrics import Metrics
from streams.ops.demo.processes import Role
from streams.ops.init import init_model
from streams.records import ClassifiedPost
from streams.setting_types import LanguageModel
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.registry_support import BUCKET, URI, S3Server
from tests.integration.support import (
    balanced,
    counter,
    failures,
    free_port,
    metric_lines,
    post,
    produce,
    records,
    wait_for,
)
from tests.integration.watch_support import watch_settings
from tests.tiny_model import spanish_package, tiny_package

SPANISH_URI = f"s3://{BUCKET}/spanish"
ENGLISH = ("hello I love my new phone", "buy this wonderful new phone today")
SPANISH = ("me encanta mi nuevo teléfono", "qué triste y mala noticia para todos nosotros")
GERMAN = "ich liebe mein neues Telefon und das Wetter"


class Beside:
    """The models of a worker: tiny 1.0.0 on `latest`, and for Spanish spanish 2.0.0 on `stable` of another registry."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.models = ServedModels(model_source(settings), language_model_sources(settings), self.metrics.model)

    def versions(self) -> list[str]:
        return [model.version for model in self.models.current().all]

    def value(self, name: str, /, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"emostream_model_{name}", labels) or 0.0


@pytest.fixture
def settings_beside(s3: S3, own_s3: S3Server, tmp_path: Path) -> Settings:
    publish(tiny_package(tmp_path / "en", languages=["en"]), URI, s3)
    publish(spanish_package(tmp_path / "es"), SPANISH_URI, s3, channel="stable")
    return configured(watch_settings(own_s3, tmp_path / "cache"), f"es={SPANISH_URI}#stable")


def configured(settings: Settings, model: str) -> Settings:
    """Returns the settings with another model for one language."""
    return settings.model_copy(update={"models": (LanguageModel.parse(model),)})


@pytest.fixture
def beside(settings_beside: Settings) -> Iterator[Beside]:
    made = Beside(settings_beside)
    yield made
    made.models.close()


def test_each_model_follows_its_own_channel(s3: S3, beside: Beside, tmp_path: Path) -> None:
    beside.models.start()
    assert beside.versions() == ["1.0.0", "2.0.0"]
    main, spanish = beside.models.watched
    batch = beside.models.current()

    publish(spanish_package(tmp_path / "new", version="2.1.0"), SPANISH_URI, s3, channel="stable")
    assert main.poll()
    assert beside.versions() == ["1.0.0", "2.0.0"]
    assert spanish.poll()
    assert beside.versions() == ["1.0.0", "2.1.0"]
    assert [model.version for model in batch.all] == ["1.0.0", "2.0.0"], "a batch keeps its models"
    assert (beside.value("swaps_total", languages="*"), beside.value("swaps_total", languages="es")) == (0, 1)
    labels = {"languages": "es", "name": "spanish", "channel": "stable"}
    assert (beside.value("info", **labels, version="2.0.0"), beside.value("info", **labels, version="2.1.0")) == (0, 1)


def test_a_version_that_no_longer_reads_the_language_is_refused(
    s3: S3, beside: Beside, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    beside.models.start()
    _, spanish = beside.models.watched
    portuguese = spanish_package(tmp_path / "pt", version="3.0.0", languages=["pt"])
    publish(portuguese, SPANISH_URI, s3, channel="stable")
    for _ in range(2):
        assert spanish.poll()
    assert beside.versions() == ["1.0.0", "2.0.0"]
    assert beside.value("refusals_total", languages="es", reason="languages") == 1
    (line,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert line == (
        "the model on channel stable for es is refused (languages), spanish 2.0.0 keeps serving: spanish 3.0.0 is "
        "configured for es, which its manifest does not list; it reads pt"
    )
    assert list((tmp_path / "cache/spanish").glob("3.0.0-*")) == [], "it is not downloaded"


def test_a_start_without_s3_takes_the_last_good_version_of_each(own_s3: S3Server, settings_beside: Settings) -> None:
    for stops in (False, True):
        if stops:
            own_s3.stop()
        one = Beside(settings_beside)
        one.models.start()
        one.models.close()
    assert one.versions() == ["1.0.0", "2.0.0"]
    assert [one.value("from_cache", languages=languages) for languages in ("*", "es")] == [1, 1]


def test_init_checks_the_models_of_single_languages(s3: S3, settings_beside: Settings) -> None:
    def init(model: str) -> None:
        init_model(configured(settings_beside, model), lambda _line: None)

    init(f"es={SPANISH_URI}#stable")
    with pytest.raises(
        ModelNotFoundError, match=rf"{SPANISH_URI} has no channel latest.*--uri {SPANISH_URI} --channel"
    ):
        init(f"es={SPANISH_URI}#latest")
    with pytest.raises(ModelError, match=r"spanish 2\.0\.0 is configured for hi"):
        init(f"hi={SPANISH_URI}#stable")


async def test_posts_go_to_the_model_of_their_language_while_its_channel_moves(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Callable[..., Role], tmp_path: Path
) -> None:
    uri, spanish_uri = (f"{settings.model_uri}-{settings.group_prefix}-{name}" for name in ("en", "es"))
    port = free_port()
    moment = {"created_at": "2026-03-01T12:00:00Z"}
    with s3_connector.connect(s3_config(settings)) as s3:
        publish(tiny_package(tmp_path / "en", languages=["en"]), uri, s3, channel="stable")
        publish(spanish_package(tmp_path / "es"), spanish_uri, s3, channel="candidate")
        publish(spanish_package(tmp_path / "new", version="2.1.0", strength=5.0), spanish_uri, s3, channel=None)
        worker = start(
            "worker",
            EMOSTREAM_MODEL_URI=uri,
            EMOSTREAM_MODELS=f"es={spanish_uri}#candidate",
            EMOSTREAM_MODEL_POLL_S="0.2",
            EMOSTREAM_WEB_PORT=str(port),
        )
        sink = start("sink")
        texts = [*ENGLISH, *SPANISH, GERMAN] * 20
        produce(settings, [post(text, **moment) for text in texts])
        wait_for(lambda: counter(port, "emostream_posts_classified_total") == 100, what="the posts are not classified")
        promote(registry_at(spanish_uri), s3, Release("spanish", "2.1.0"), "candidate")
        swapped = 'emostream_model_swaps_total{languages="es"}'
        wait_for(lambda: counter(port, swapped) == 1, what="the Spanish model is not replaced")
        produce(settings, [post(text, **moment) for text in texts])
        assert failures(await balanced(settings, store, [worker, sink])) == []

    found: dict[tuple[str, str | None, str, str], int] = {}
    for _, _, value in records(settings, settings.topic_classified):
        each = ClassifiedPost.from_json(value)
        key = (each.lang or "", each.label, f"{each.model.name} {each.model.version}", each.model.tier)
        found[key] = found.get(key, 0) + 1
    assert found == {
        ("en", "ham", "tiny 1.0.0", "full"): 40,
        ("en", "spam", "tiny 1.0.0", "full"): 40,
        ("es", "alegría", "spanish 2.0.0", "full"): 20,
        ("es", "tristeza", "spanish 2.0.0", "full"): 20,
        ("es", "alegría", "spanish 2.1.0", "full"): 20,
        ("es", "tristeza", "spanish 2.1.0", "full"): 20,
        ("de", None, "tiny 1.0.0", "unsupported"): 40,
    }
    assert metric_lines(port, "emostream_model_info{") == [
        'emostream_model_info{channel="stable",languages="*",name="tiny",version="1.0.0"} 1.0',
        'emostream_model_info{channel="candidate",languages="es",name="spanish",version="2.1.0"} 1.0',
    ]

    # Windows, tables and charts have the labels of both models, and sentiment of the posts of the one that predicts it.
    (window,) = await store.read(keyword="*", size=60)
    labels = {"alegría": 40, "ham": 40, "spam": 40, "tristeza": 40}
    assert {label: stats.count for label, stats in window.labels.items()} == labels
    assert (window.count, window.unsupported) == (160, 40)
    assert window.sentiment is not None
    assert sum(window.sentiment.labels.values()) == 80
    assert windows_table([window], Console(width=200)).row_count == 1
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        shares = "SELECT emotion, sum(posts)::int FROM bi.emotion_share GROUP BY 1"
        wait_for(lambda: dict(connection.execute(shares).fetchall()) == labels, what="the view lacks labels")
