"""The classify stage: raw messages in; classified posts and dead letters out, delivery confirmed.

For each batch: 1. decode; 2. classify; 3. write the dead letters and wait; 4. write the classified posts and wait.
Step 3 comes before step 4 because the last classified origin is the stage's position: a dead letter that is not in the
log by then would be passed over after a crash. Steps 1 and 2 run in a thread; the event loop stays free. While a batch
is in steps 3 and 4, the next one may be in 1 and 2.

The model may be replaced while the stage runs. A batch asks for the current one once, when step 1 begins, so each
batch, and with it each record, has exactly one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import NamedTuple, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from connectors.kafka.batch import Batch, OwnRange
from connectors.kafka.own_writes import OwnWrites
from connectors.kafka.producer import ConfirmedProducer, Outgoing, WrittenOffsets
from models.classifier import Classifier
from streams.dead_letters import dead_letter, origin_of, outgoing
from streams.metrics import Metrics
from streams.pipeline.decode import Rejection, decode_post
from streams.pipeline.predictions import Prediction, classified_post, predict
from streams.records import DeadPost, DeadReason, Post, Timestamp
from streams.settings import Settings
from streams.windows.post import PostForCounting

logger = logging.getLogger(__name__)

_CONTROL_TEXT = "what a lovely day"


class Deliverer(Protocol):
    """What the stage needs of a producer."""

    async def deliver(self, records: Sequence[Outgoing]) -> WrittenOffsets:
        """Write records and wait for their confirmation; returns where they are."""


class Answered(NamedTuple):
    """What became of a batch.

    Attributes:
        dead: letters; every message is in one of the two, in order.
        classified: results.
        counted: what the windows need of the results, by partition.
        tiers: how many posts each tier answered.
    """

    dead: list[DeadPost]
    classified: list[Outgoing]
    counted: dict[int, list[PostForCounting]]
    tiers: Counter[str]


class ClassifyStage:
    """Classifies batches."""

    def __init__(
        self,
        settings: Settings,
        current: Callable[[], Classifier],
        producer: ConfirmedProducer | Deliverer,
        metrics: Metrics,
        *,
        own_writes: OwnWrites | None,
    ) -> None:
        """Prepare the stage.

        Args:
            settings: all settings.
            current: the model of the moment; asked once per batch, in the inference thread.
            producer: writes the results.
            metrics: where everything is counted.
            own_writes: told every result, so that the windows need not fetch it; None if they are to.
        """
        self._own_writes = own_writes
        self._settings = settings
        self._current = current
        self._producer = producer
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    async def answer(self, batch: Batch) -> Answered:
        """Decode and classify a batch, in the inference thread. One at a time; nothing outside changes."""
        self._metrics.batch_posts.labels("classify").observe(len(batch.messages))
        loop = asyncio.get_running_loop()
        with self._metrics.batch_seconds.labels("classify").time():
            return await loop.run_in_executor(self._thread, self.classify, batch.messages)

    async def deliver(self, answered: Answered) -> None:
        """Write what became of a batch, and return when all of it is in the log.

        Raises:
            ConnectorError: a result was refused.
        """
        metrics = self._metrics
        dead, classified, counted, tiers = answered
        with metrics.batch_seconds.labels("deliver").time():
            await self._producer.deliver([outgoing(letter, self._settings.topic_dead) for letter in dead])
            written = await self._producer.deliver(classified)
        self._tell(counted, written)
        metrics.classified.inc(len(classified))
        for tier, count in tiers.items():
            metrics.answered.labels(tier).inc(count)
        for letter in dead:
            metrics.dead.labels(letter.reason.value).inc()

    def _tell(self, counted: Mapping[int, Sequence[PostForCounting]], written: WrittenOffsets) -> None:
        """Tell the windows of results that are in the log without a hole, so that their offsets are known."""
        if self._own_writes is None:
            return
        for partition, posts in counted.items():
            offsets = written.get((self._settings.topic_classified, partition), range(0))
            if len(offsets) == len(posts):
                self._own_writes.offer(OwnRange(partition, offsets.start, posts))

    def classify(self, messages: Sequence[Message]) -> Answered:
        """Decode and classify messages; every one ends up in exactly one of the two lists, in order."""
        classifier = self._current()
        now_ms = time.time_ns() // 1_000_000
        max_future_ms = int(self._settings.max_future_s * 1_000)
        dead: list[DeadPost] = []
        posts: list[Post] = []
        raw: list[Message] = []
        for message in messages:
            decoded = decode_post(
                message.value(),
                text_max_chars=self._settings.text_max_chars,
                max_future_ms=max_future_ms,
                now_ms=_arrival(message) or now_ms,
            )
            if isinstance(decoded, Rejection):
                dead.append(dead_letter(message, *decoded))
            else:
                posts.append(decoded)
                raw.append(message)
        predictions, failed = self._predictions(classifier, [post.text for post in posts])
        classified: list[Outgoing] = []
        counted: dict[int, list[PostForCounting]] = defaultdict(list)
        tiers: list[str] = []
        topic, keep_text = self._settings.topic_classified, self._settings.keep_text
        classified_at = Timestamp.now(UTC)
        for i, (message, post, prediction) in enumerate(zip(raw, posts, predictions, strict=True)):
            if prediction is None:
                dead.append(dead_letter(message, DeadReason.CLASSIFICATION_FAILED, failed[i]))
                continue
            origin = origin_of(message)
            result = classified_post(post, prediction, origin, classified_at=classified_at, keep_text=keep_text)
            # The same partition number as the raw post, whatever partitioner its producer used.
            classified.append(Outgoing(topic, result.to_json(), post.id.encode(), origin.partition))
            tiers.append(prediction.model.tier)
            counted[origin.partition].append(PostForCounting.of(result))
        return Answered(dead, classified, counted, Counter(tiers))

    @staticmethod
    def _predictions(
        classifier: Classifier, texts: Sequence[str]
    ) -> tuple[Sequence[Prediction | None], dict[int, str]]:
        """One prediction per text; None, and by its index the reason, for a text that the model cannot take.

        A batch that fails is tried text by text, so that one bad text costs only itself. If the model fails on a
        plain sentence too, it is the model that is broken, and its error is raised.
        """
        try:
            return predict(classifier, texts), {}
        except Exception:
            logger.exception("classifying a batch of %d failed; trying its texts one by one", len(texts))
        predict(classifier, [_CONTROL_TEXT])
        predictions: list[Prediction | None] = []
        failed: dict[int, str] = {}
        for i, text in enumerate(texts):
            try:
                predictions += predict(classifier, [text])
            except Exception as exc:  # noqa: BLE001 - dead-lettered with its reason
                predictions.append(None)
                failed[i] = f"{type(exc).__name__}: {exc}"[:1_000]
        return predictions, failed

    def close(self) -> None:
        """Stop the inference thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _arrival(message: Message) -> int | None:
    """When the broker appended the message, in milliseconds; None where the topic has its producers' timestamps.

    The decision about a timestamp in the future must not change when the post is read again.
    """
    kind, milliseconds = message.timestamp()
    return milliseconds if kind == TIMESTAMP_LOG_APPEND_TIME else None
