"""Networks, a model and an outbox for tests of fetches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from connectors.errors import ConnectorError
from connectors.kafka.producer import Outgoing, WrittenOffsets
from models.text.language import Language
from streams.classification.predictions import Prediction
from streams.classification.texts import TextResult
from streams.ingest.keywords.matcher import Matcher
from streams.query.fetch import NetworkFetch, open_fetch
from streams.query.fetch_classify import Classify
from streams.query.fetch_metrics import FetchMetrics
from streams.query.fetch_networks import Network, open_networks
from streams.query.fetch_outbox import Outbox
from streams.query.fetch_posts import OtherKeywords, PostMaker
from streams.query.question import Question
from streams.records import ModelRef, Post, Sentiment
from streams.settings import Settings
from tests.settings_support import load

MODEL = ModelRef("test", "1.0.0", "full")
ENGLISH = Language("en", 1.0)
NO_KEYWORDS = Matcher([])


async def classify(texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
    """A model for which every text with `sad` is sadness, and every other one is joy."""
    return [joy_or_sadness(text) for text in texts]


def joy_or_sadness(text: str) -> TextResult:
    label, sentiment = (
        ("sadness", Sentiment("negative", -0.5)) if "sad" in text else ("joy", Sentiment("positive", 0.5))
    )
    return TextResult(ENGLISH, Prediction(label, 0.75, {label: 0.75}, sentiment, MODEL))


class RawTopic:
    """A producer in memory, and what knows the posts that were sent.

    Attributes:
        posts: the posts that were written, in order.
        marked: the ids that were noted as sent.
        failures: raised by the next calls, by the name of the method.
        gate: while it is not set, Kafka confirms nothing.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.marked: list[str] = []
        self.failures: dict[str, list[ConnectorError]] = {}
        self.opened = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def open(self) -> RawTopic:
        self.opened += 1
        return self

    def _fail(self, method: str) -> None:
        if waiting := self.failures.get(method):
            raise waiting.pop(0)

    async def deliver(self, records: Sequence[Outgoing], /) -> WrittenOffsets:
        self._fail("deliver")
        await self.gate.wait()
        self.posts += [Post.from_json(record.value) for record in records]
        assert [record.key for record in records] == [post.id.encode() for post in self.posts[-len(records) :]]
        return {}

    def close(self, timeout_s: float = 5.0, /) -> int:
        return 0

    async def known(self, posts: Sequence[Post], /) -> Mapping[str, str]:
        self._fail("known")
        return {post.id: "redis" for post in posts if post.id in self.marked}

    async def mark(self, ids: Sequence[str], /) -> None:
        self._fail("mark")
        self.marked += ids

    @property
    def ids(self) -> list[str]:
        return [post.id for post in self.posts]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - nobody tells when it is
                await asyncio.sleep(0.005)


def metric(metrics: FetchMetrics, name: str, **labels: str) -> float:
    """Returns the value of a metric; 0 if it has none."""
    return metrics.registry.get_sample_value(f"emostream_fetch{name}", labels) or 0.0


def networks_of(folder: Path, toml: str, live: OtherKeywords = lambda: NO_KEYWORDS) -> list[Network]:
    path = folder / "sources.toml"
    path.write_text(toml)
    return open_networks(path, live)


class World:
    """A fetch, its networks and the raw topic in memory. An async context manager."""

    def __init__(
        self, folder: Path, toml: str, *, model: Classify = classify, live: OtherKeywords = lambda: NO_KEYWORDS
    ) -> None:
        self.metrics = FetchMetrics(CollectorRegistry())
        self.raw = RawTopic()
        self.networks = networks_of(folder, toml, live)
        settings = load()
        self.outbox = Outbox(open_producer=self.raw.open, topic="raw", sent=self.raw, metrics=self.metrics)
        self.fetch = NetworkFetch(
            self.networks,
            classify=model,
            maker=lambda question: PostMaker.of(settings, question.keyword, question.since),
            outbox=self.outbox,
            metrics=self.metrics,
        )

    async def __aenter__(self) -> World:
        self.outbox.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.outbox.close(0.0)
        for network in self.networks:
            await network.close()

    def searched(self, source: str, result: str) -> float:
        """Returns how many searches of a network ended so."""
        return metric(self.metrics, "_searches_total", source=source, result=result)


@asynccontextmanager
async def opened(settings: Settings, metrics: FetchMetrics | None = None) -> AsyncIterator[NetworkFetch]:
    """Open the sources of the settings, of which there are some."""
    async with open_fetch(settings, classify, metrics or FetchMetrics(CollectorRegistry())) as fetch:
        assert fetch is not None
        yield fetch


def question(keyword: str = "coffee", limit: int = 250) -> Question:
    return Question.of(keyword, limit=limit)


def table(name: str, url: str, **options: object) -> str:
    """Returns a table of sources.toml whose search is at an address."""
    lines = [f"[{name}]", f"search_endpoint = '{url}'", "allow_private = true", "backoff_s = 0.05"]
    return "\n".join([*lines, *(f"{key} = {value!r}" for key, value in options.items())]) + "\n"
