"""The state of the application while servers hang: each part says so, and none delays another one."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from api import status as status_module
from api.kafka_figures import KafkaFigures, KafkaFiguresReader
from api.models.status import DeadLetters, PostFigures, SinkGate, StatusAnswer, WorkerLag
from api.status import StatusReader
from connectors.errors import UnavailableError
from streams.settings import Settings, load_settings

CLASSIFIED, WINDOWS = "posts.classified", "emotions.windows"


class FakePool:
    """A pool whose connection has the rows of `sink_offsets`, or an error."""

    def __init__(self, rows: list[tuple[str, int, int]] | Exception) -> None:
        self._rows = rows

    @asynccontextmanager
    async def connection(self, _doing: str) -> AsyncIterator[FakePool]:
        if isinstance(self._rows, Exception):
            raise self._rows
        yield self

    async def execute(self, *_arguments: object) -> FakePool:
        return self

    async def fetchall(self) -> list[tuple[str, int, int]]:
        assert not isinstance(self._rows, Exception)
        return self._rows


class FakeKafka:
    """Figures that come when `answers` is set."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.reads = 0

    def read(self) -> KafkaFigures:
        self.reads += 1
        self.answers.wait()
        ends = {CLASSIFIED: {0: 10, 1: 20}, WINDOWS: {0: 5, 1: 0}}
        return KafkaFigures(
            PostFigures(over_s=10, per_second=2.5), WorkerLag(classify=1), DeadLetters(total=0), ends, None
        )

    def close(self) -> None:
        """Do nothing."""


def settings_of(**given: Any) -> Settings:
    return load_settings(None, environ={}, sink_web_port=0, **given)


def reader_of(kafka: FakeKafka, rows: list[tuple[str, int, int]] | Exception) -> StatusReader:
    settings = settings_of()
    pool: Any = FakePool(rows)
    models: Any = SimpleNamespace(all=[], by_language={})
    reader = StatusReader(settings, postgres=pool, models=lambda: models)
    reader._kafka = kafka  # type: ignore[assignment]
    return reader


async def test_a_part_that_hangs_has_a_problem_and_the_others_have_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "PART_S", 0.2)
    kafka = FakeKafka()
    reader = reader_of(kafka, [])
    found = await reader.read()
    assert found.posts.problem == found.lag.problem == found.dead.problem == "Kafka did not answer within 0.2 s"
    assert found.sink.problem == found.posts.problem
    assert found.gate.problem == "the web server of the sink is off (EMOSTREAM_SINK_WEB_PORT=0)"
    assert [one.size for one in found.windows] == [60, 300, 3_600, 86_400]
    # The next answer waits for the same reading, so that a server that hangs does not use up the threads.
    monkeypatch.setattr(status_module, "KEPT_S", -1)
    assert (await reader.read()).posts.problem is not None
    assert kafka.reads == 1
    kafka.answers.set()
    await reader.close()


async def test_the_lag_of_the_sink_needs_both_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "KEPT_S", 3_600)
    kafka = FakeKafka()
    kafka.answers.set()
    reader = reader_of(kafka, [(CLASSIFIED, 0, 7), (WINDOWS, 0, 5)])
    found = await reader.read()
    assert (found.sink.posts, found.sink.windows, found.sink.problem) == (3 + 20, 0, None)
    assert found.posts.per_second == 2.5
    assert await reader.read() is found  # it is kept
    await reader.close()
    away = reader_of(kafka, UnavailableError("PostgreSQL did not answer"))
    found = await away.read()
    assert (found.sink.posts, found.posts.problem) == (None, None)
    assert found.sink.problem is not None
    assert "PostgreSQL did not answer" in found.sink.problem
    await away.close()


def test_without_kafka_each_figure_has_the_reason() -> None:
    settings = settings_of(kafka_bootstrap="127.0.0.1:1", kafka_timeout_s=0.2)
    reader = KafkaFiguresReader(settings, within_s=0.2)
    found = reader.read()
    reader.close()
    problems = (found.posts.problem, found.lag.problem, found.dead.problem, found.ends_problem)
    assert all(problem is not None for problem in problems)
    assert found.posts.per_second is None
    assert found.ends == {}


def test_a_sink_that_does_not_answer_is_no_error() -> None:
    settings = settings_of(api_sink_url="http://127.0.0.1:1")
    reader = StatusReader(settings, postgres=None, models=None)  # type: ignore[arg-type]
    found = reader._read_gate()
    assert found == SinkGate(problem="http://127.0.0.1:1/status: Connection refused")


def test_the_example_of_the_documentation_is_an_answer() -> None:
    (example,) = StatusAnswer.model_config["json_schema_extra"]["examples"]  # type: ignore[index,call-overload]
    assert StatusAnswer.model_validate(example).model_dump(mode="json").keys() == example.keys()
