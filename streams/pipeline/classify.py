"""The classify stage: reads raw messages, and writes classified posts and dead letters.

For each batch:

1. decode;
2. find the language of each post, and classify it with the model that reads it, if there is one;
3. write the dead letters and wait for the broker;
4. write the classified posts and wait for the broker.

Step 3 comes before step 4 because the origin of the last classified post is the stage's position. After a crash the
stage resumes after that origin, and would skip an earlier message whose dead letter was never written to the topic
of dead letters.

`ClassifyStage.prepare` does steps 1 and 2, in a thread, so that the event loop stays free. `ClassifyStage.deliver` does
steps 3 and 4. While one batch is delivered, the next one is prepared (`batches.PipelinedStage`).

Models may be replaced while the stage runs. Each batch uses the models that are current when step 1 begins.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import NamedTuple, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from connectors.kafka.batch import Batch, OwnRange
from connectors.kafka.own_records import OwnRecords
from connectors.kafka.producer import Outgoing, WrittenOffsets
from models.classifier import Classifier
from models.text.model_set import ModelSet
from streams.classification.predictions import Prediction, classified_post
from streams.classification.texts import Failed, classify_texts
from streams.dead_letters import (
    DeadLetterLog,
    count_dead_letters,
    dead_letter,
    letter_of_batch,
    origin_of,
    outgoing,
)
from streams.metrics import Metrics
from streams.pipeline.decode import Rejection, Repairs, decode_post
from streams.records import DeadPost, DeadReason, Post, Timestamp, is_from_source
from streams.settings import Settings
from streams.windows.post import PostForCounting


class Deliverer(Protocol):
    """The part of a producer that the stages use."""

    async def deliver(self, records: Sequence[Outgoing]) -> WrittenOffsets:
        """Write records, and return their offsets when the broker has confirmed all of them."""


class ClassifiedBatch(NamedTuple):
    """The result of steps 1 and 2. Every message of the batch is a dead letter or a classified post.

    Attributes:
        dead_letters: one for each message that could not be decoded or classified, and for each unreadable batch.
        classified: the records of the classified posts, in the order of the batch.
        for_counting: by partition, the part of each classified post that the windows count, in the same order. It is
            empty if the aggregate stage must fetch the partition's posts.
        tiers: number of posts that each tier of each model classified, by the names of the model and the tier.
        unsupported: number of posts in a language that no model reads. They are among `classified`.
    """

    dead_letters: list[DeadPost]
    classified: list[Outgoing]
    for_counting: dict[int, list[PostForCounting]]
    tiers: Counter[tuple[str, str]]
    unsupported: int


class ClassifyStage:
    """Classifies batches. One batch at a time can be prepared, and one delivered."""

    def __init__(
        self,
        settings: Settings,
        current_models: Callable[[], ModelSet[Classifier]],
        producer: Deliverer,
        metrics: Metrics,
        *,
        own_records: OwnRecords | None,
    ) -> None:
        """Create the stage and its inference thread.

        `current_models` returns the current models. The inference thread calls it once for each batch. `own_records`
        gets the own records of each delivered batch, so that the aggregate stage need not fetch them. If it is None,
        the aggregate stage fetches everything.
        """
        self._settings = settings
        self._current_models = current_models
        self._producer = producer
        self._metrics = metrics
        self._own_records = own_records
        self._source_posts_are_fetched = settings.source_deduplication_s > 0
        self._dead_letter_log = DeadLetterLog(settings.topic_dead)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    async def prepare(self, batch: Batch) -> ClassifiedBatch:
        """Do steps 1 and 2 in the inference thread. Nothing is written."""
        self._metrics.batch_posts.labels("classify").observe(len(batch.messages))
        loop = asyncio.get_running_loop()
        with self._metrics.batch_seconds.labels("classify").time():
            prepared = await loop.run_in_executor(self._thread, self.classify, batch.messages)
        prepared.dead_letters.extend(map(letter_of_batch, batch.unreadable))
        return prepared

    async def deliver(self, prepared: ClassifiedBatch) -> None:
        """Do steps 3 and 4. Returns when the broker has confirmed all records.

        Raises:
            ConnectorError: The broker rejected a record.
        """
        metrics = self._metrics
        dead_letters, classified, for_counting, tiers, unsupported = prepared
        with metrics.batch_seconds.labels("deliver").time():
            # Step 3: write the dead letters and wait for the broker.
            await self._producer.deliver([outgoing(letter, self._settings.topic_dead) for letter in dead_letters])
            # Step 4: write the classified posts and wait for the broker.
            written = await self._producer.deliver(classified)
        self._offer_own_records(for_counting, written)
        metrics.classified.inc(len(classified))
        metrics.unsupported.inc(unsupported)
        for (model, tier), count in tiers.items():
            metrics.answered.labels(model, tier).inc(count)
        count_dead_letters(dead_letters, metrics)
        self._dead_letter_log.add(dead_letters)

    def _offer_own_records(
        self, for_counting: Mapping[int, Sequence[PostForCounting]], written: WrittenOffsets
    ) -> None:
        """Hand the own records to the aggregate stage, partition by partition.

        A partition is left out if its offsets are not known, or if another producer wrote between these records. An
        empty range is handed over if the posts must be fetched.
        """
        if self._own_records is None:
            return
        for partition, posts in for_counting.items():
            offsets = written.get((self._settings.topic_classified, partition), range(0))
            if not posts:
                self._own_records.offer(OwnRange(partition, offsets.stop, (), 0))
            elif len(offsets) == len(posts):
                memory = sum(post.memory for post in posts)
                self._own_records.offer(OwnRange(partition, offsets.start, posts, memory))

    def classify(self, messages: Sequence[Message]) -> ClassifiedBatch:
        """Do steps 1 and 2 in the calling thread."""
        models = self._current_models()
        now_ms = time.time_ns() // 1_000_000
        max_future_ms = int(self._settings.max_future_s * 1_000)
        dead_letters: list[DeadPost] = []
        posts: list[Post] = []
        raw: list[Message] = []
        repairs = Repairs(self._settings.invalid_characters == "replace", self._settings.long_texts == "cut")
        # Step 1: decode.
        for message in messages:
            decoded = decode_post(
                message.value(),
                text_max_chars=self._settings.text_max_chars,
                max_future_ms=max_future_ms,
                now_ms=_append_time_ms(message) or now_ms,
                repairs=repairs,
            )
            if isinstance(decoded, Rejection):
                dead_letters.append(dead_letter(message, *decoded))
            else:
                posts.append(decoded)
                raw.append(message)
        self._metrics.repaired.labels("characters").inc(repairs.cleaned)
        self._metrics.repaired.labels("long_text").inc(repairs.cut)
        # Step 2: find the languages, and classify.
        answers = classify_texts(models, [post.text for post in posts], [post.lang for post in posts])
        classified: list[Outgoing] = []
        for_counting: dict[int, list[PostForCounting]] = defaultdict(list)
        from_sources: set[int] = set()
        tiers: list[tuple[str, str]] = []
        unsupported = 0
        topic, keep_text = self._settings.topic_classified, self._settings.keep_text
        classified_at = Timestamp.now(UTC)
        for message, post, (language, found) in zip(raw, posts, answers, strict=True):
            if isinstance(found, Failed):
                dead_letters.append(dead_letter(message, DeadReason.CLASSIFICATION_FAILED, found.reason))
                continue
            if isinstance(found, Prediction):
                tiers.append((found.model.name, found.model.tier))
            else:
                unsupported += 1
            origin = origin_of(message)
            result = classified_post(post, found, language, origin, classified_at=classified_at, keep_text=keep_text)
            key = post.id.encode()
            # The same partition number as the raw post (rule 3 of docs/architecture.md).
            classified.append(Outgoing(topic, result.to_json(), key, origin.partition))
            for_counting[origin.partition].append(PostForCounting.of(result))
            if is_from_source(key):
                from_sources.add(origin.partition)
        if self._source_posts_are_fetched:
            # Whether they are duplicates depends on the time at which the broker appended them.
            for_counting.update({partition: [] for partition in from_sources})
        return ClassifiedBatch(dead_letters, classified, for_counting, Counter(tiers), unsupported)

    def close(self) -> None:
        """Stop the inference thread, and log the dead letters that the log has not named yet."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._dead_letter_log.flush()


def _append_time_ms(message: Message) -> int | None:
    """Returns when the broker appended a message, in milliseconds since 1970; None if its timestamp is the producer's.

    Posts from the future are dead-lettered by this time, so that a second reading decides as the first one did.
    """
    kind, milliseconds = message.timestamp()
    return milliseconds if kind == TIMESTAMP_LOG_APPEND_TIME else None
