"""Reads the state of the application. Its parts are read at the same time, so that none delays another one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar, cast

from api.kafka_figures import OVER_S, KafkaFigures, KafkaFiguresReader
from api.live.stream import MOST_POSTS
from api.models.status import (
    DeadLetters,
    LiveIntervals,
    PostFigures,
    SinkGate,
    SinkLag,
    StatusAnswer,
    WindowSizeInfo,
    WorkerLag,
)
from api.served import served_models
from connectors.errors import ConnectorError
from connectors.postgres_pool import PostgresPool
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams import __version__
from streams.query.single_flight import SingleFlight
from streams.redact import redact
from streams.settings import Settings
from streams.sink.status import ask, default_urls

T = TypeVar("T")

PART_S = 2.0
"""Seconds that a part may take. Its servers have a little less, so that their own error comes first."""

KEPT_S = 1.0
"""Seconds that an answer is kept. So many pages ask no more often than one."""

_SERVERS_S = 1.8


class StatusReader:
    """Reads the state, at most once in `KEPT_S` seconds. Tasks may share it."""

    def __init__(
        self,
        settings: Settings,
        *,
        postgres: PostgresPool,
        models: Callable[[], ModelSet[OnnxClassifier]],
    ) -> None:
        """Prepare the reader. `models` returns the models that serve."""
        self._settings = settings
        self._postgres = postgres
        self._models = models
        self._kafka = KafkaFiguresReader(settings, within_s=_SERVERS_S)
        self._answers: SingleFlight[StatusAnswer] = SingleFlight()
        self._figures: SingleFlight[KafkaFigures] = SingleFlight()
        self._gates: SingleFlight[SinkGate] = SingleFlight()
        self._positions: SingleFlight[dict[str, dict[int, int]]] = SingleFlight()
        self._last: StatusAnswer | None = None
        self._last_at = 0.0

    async def read(self) -> StatusAnswer:
        """Returns the state. It takes `PART_S` seconds at most."""
        if self._last is not None and asyncio.get_running_loop().time() < self._last_at + KEPT_S:
            return self._last
        return await self._answers.run("all", lambda _: self._read())

    async def close(self) -> None:
        """End what is under way, and close the connection to Kafka."""
        for flights in (self._answers, self._figures, self._gates, self._positions):
            await flights.close()
        await asyncio.to_thread(self._kafka.close)

    async def _read(self) -> StatusAnswer:
        at = datetime.now(UTC)
        (figures, figures_problem), (positions, positions_problem), (gate, gate_problem) = await asyncio.gather(
            _within("Kafka", self._figures.run("all", lambda _: asyncio.to_thread(self._kafka.read))),
            _within("Postgres", self._positions.run("all", lambda _: self._read_positions())),
            _within("the sink", self._gates.run("all", lambda _: asyncio.to_thread(self._read_gate))),
        )
        ends_problem = figures_problem if figures is None else figures.ends_problem
        problem = ends_problem or positions_problem
        settings = self._settings
        answer = StatusAnswer(
            at=at,
            version=__version__,
            posts=PostFigures(over_s=OVER_S, problem=figures_problem) if figures is None else figures.posts,
            lag=WorkerLag(problem=figures_problem) if figures is None else figures.lag,
            sink=SinkLag(problem=problem)
            if figures is None or positions is None or problem is not None
            else self._sink_lag(figures.ends, positions),
            gate=gate or SinkGate(problem=gate_problem),
            dead=DeadLetters(problem=figures_problem) if figures is None else figures.dead,
            models=served_models(self._models()),
            windows=[WindowSizeInfo(size=one.seconds, kept_s=one.kept_s) for one in settings.window_sizes],
            live=LiveIntervals(
                windows_s=settings.api_live_interval_s,
                posts_s=settings.api_live_posts_interval_s,
                most_posts=MOST_POSTS,
            ),
        )
        self._last, self._last_at = answer, asyncio.get_running_loop().time()
        return answer

    def _sink_lag(self, ends: Mapping[str, Mapping[int, int]], positions: Mapping[str, Mapping[int, int]]) -> SinkLag:
        def waiting(topic: str) -> int:
            known = positions.get(topic, {})
            return sum(max(0, end - known.get(partition, 0)) for partition, end in ends[topic].items())

        return SinkLag(posts=waiting(self._settings.topic_classified), windows=waiting(self._settings.topic_windows))

    async def _read_positions(self) -> dict[str, dict[int, int]]:
        """Returns by topic and partition the next offset that the sink will write."""
        topics = [self._settings.topic_classified, self._settings.topic_windows]
        statement = "SELECT topic, partition, next_offset FROM sink_offsets WHERE topic = ANY(%s)"
        async with self._postgres.connection("reading the positions of the sink") as connection:
            rows = await (await connection.execute(statement, (topics,))).fetchall()
        found: dict[str, dict[int, int]] = {}
        for topic, partition, offset in cast("list[tuple[str, int, int]]", rows):
            found.setdefault(topic, {})[partition] = offset
        return found

    def _read_gate(self) -> SinkGate:
        settings = self._settings
        urls = default_urls(settings) if settings.api_sink_url is None else [f"{settings.api_sink_url}/status"]
        if not urls:
            return SinkGate(problem="the web server of the sink is off (EMOSTREAM_SINK_WEB_PORT=0)")
        answer = ask(urls[0], timeout_s=_SERVERS_S)
        if answer.report is None:
            return SinkGate(problem=redact(f"{answer.url}: {answer.error}"))
        gate = answer.report.gate
        return SinkGate(
            is_open=gate.is_open,
            reason=gate.reason,
            why=gate.why,
            since=gate.since,
            utilization=gate.utilization,
            limit=gate.limit,
            health=answer.report.health,
        )


async def _within(name: str, reading: Awaitable[T]) -> tuple[T | None, str | None]:
    """Returns what is read, or why it is not. What takes too long goes on, and the next caller waits for it too."""
    try:
        async with asyncio.timeout(PART_S):
            return await reading, None
    except TimeoutError:
        return None, f"{name} did not answer within {PART_S:g} s"
    except ConnectorError as exc:
        return None, redact(str(exc))
