"""The classify stage: raw messages in; classified posts and dead letters out, delivery confirmed.

For each batch: 1. decode; 2. classify; 3. write the dead letters and wait; 4. write the classified posts and wait.
Step 3 comes before step 4 because the last classified origin is the stage's position: a dead letter that is not in the
log by then would be passed over after a crash. Steps 1 and 2 run in a thread; the event loop stays free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from connectors.kafka.consumer import Batch
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from models.classifier import Classifier
from models.errors import ModelPackageError
from streams.dead_letters import dead_letter, origin_of, outgoing
from streams.decode import decode_post
from streams.metrics import Metrics
from streams.records import ClassifiedPost, DeadPost, DeadReason, ModelRef, Origin, Post, from_ms
from streams.settings import Settings
from streams.verdict import Verdict, verdicts

logger = logging.getLogger(__name__)

EMOTION_HEAD = "emotion"
_CONTROL_TEXT = "what a lovely day"


class Deliverer(Protocol):
    """What the stage needs of a producer."""

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        """Write records and wait for their confirmation."""


class ClassifyStage:
    """Classifies batches. One batch at a time."""

    def __init__(
        self, settings: Settings, classifier: Classifier, producer: ConfirmedProducer | Deliverer, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._classifier = classifier
        self._producer = producer
        self._metrics = metrics
        self._labels = _emotion_labels(classifier)
        self._model = ModelRef(name=classifier.manifest.name, version=classifier.manifest.version)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    async def process(self, batch: Batch) -> None:
        """Classify a batch and return when every result is in the log.

        Raises:
            ConnectorError: a result was refused.
        """
        metrics = self._metrics
        metrics.batch_posts.labels("classify").observe(len(batch.messages))
        loop = asyncio.get_running_loop()
        with metrics.batch_seconds.labels("classify").time():
            dead, classified = await loop.run_in_executor(self._thread, self.classify, batch.messages)
        with metrics.batch_seconds.labels("deliver").time():
            await self._producer.deliver([outgoing(letter, self._settings.topic_dead) for letter in dead])
            await self._producer.deliver([self._result(post) for post in classified])
        metrics.classified.inc(len(classified))
        for letter in dead:
            metrics.dead.labels(letter.reason.value).inc()

    def classify(self, messages: Sequence[Message]) -> tuple[list[DeadPost], list[ClassifiedPost]]:
        """Decode and classify messages; every one ends up in exactly one of the two lists, in order."""
        now = datetime.now(UTC)
        max_future = timedelta(seconds=self._settings.max_future_s)
        dead: list[DeadPost] = []
        posts: list[Post] = []
        origins: list[Origin] = []
        raw: list[Message] = []
        for message in messages:
            origin = origin_of(message)
            decoded = decode_post(
                message.value(),
                message.key(),
                origin,
                text_max_chars=self._settings.text_max_chars,
                max_future=max_future,
                now=_arrival(message) or now,
            )
            if isinstance(decoded, DeadPost):
                dead.append(decoded)
            else:
                posts.append(decoded)
                origins.append(origin)
                raw.append(message)
        answers, failed = self._verdicts([post.text for post in posts])
        classified = []
        classified_at = datetime.now(UTC)
        for i, (post, origin) in enumerate(zip(posts, origins, strict=True)):
            answer = answers[i]
            if answer is None:
                letter = dead_letter(raw[i], DeadReason.CLASSIFICATION_FAILED, failed[i])
                dead.append(letter)
                continue
            classified.append(
                ClassifiedPost(
                    id=post.id,
                    source=post.source,
                    keywords=post.keywords,
                    created_at=post.created_at,
                    text=post.text if self._settings.keep_text else None,
                    lang=post.lang,
                    author=post.author,
                    url=post.url,
                    label=answer.label,
                    confidence=answer.confidence,
                    scores=answer.scores,
                    model=self._model,
                    origin=origin,
                    classified_at=classified_at,
                )
            )
        return dead, classified

    def _verdicts(self, texts: Sequence[str]) -> tuple[Sequence[Verdict | None], dict[int, str]]:
        """One verdict per text; None, and by its index the reason, for a text that the model cannot take.

        A batch that fails is tried text by text, so that one bad text costs only itself. If the model fails on a
        plain sentence too, it is the model that is broken, and its error is raised.
        """
        try:
            return self._ask(texts), {}
        except Exception:
            logger.exception("classifying a batch of %d failed; trying its texts one by one", len(texts))
        self._ask([_CONTROL_TEXT])
        answers: list[Verdict | None] = []
        failed: dict[int, str] = {}
        for i, text in enumerate(texts):
            try:
                answers += self._ask([text])
            except Exception as exc:  # noqa: BLE001 - dead-lettered with its reason
                answers.append(None)
                failed[i] = f"{type(exc).__name__}: {exc}"[:1_000]
        return answers, failed

    def _ask(self, texts: Sequence[str]) -> list[Verdict]:
        answers = verdicts(self._classifier.classify(texts)[EMOTION_HEAD], self._labels)
        if len(answers) != len(texts):
            raise ValueError(f"the model gave {len(answers)} answers to {len(texts)} texts")
        return answers

    def _result(self, post: ClassifiedPost) -> Outgoing:
        # The same partition number as the raw post, whatever partitioner its producer used.
        value = post.model_dump_json().encode()
        return Outgoing(self._settings.topic_classified, value, post.id.encode(), post.origin.partition)

    def close(self) -> None:
        """Stop the inference thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _emotion_labels(classifier: Classifier) -> tuple[str, ...]:
    for head in classifier.manifest.heads:
        if head.name == EMOTION_HEAD:
            return tuple(head.labels)
    heads = ", ".join(head.name for head in classifier.manifest.heads)
    raise ModelPackageError(f"the model {classifier.manifest.name} has no head {EMOTION_HEAD!r}; it has: {heads}")


def _arrival(message: Message) -> datetime | None:
    """When the broker appended the message; None where the topic has its producers' timestamps.

    The decision about a timestamp in the future must not change when the post is read again.
    """
    kind, milliseconds = message.timestamp()
    return from_ms(milliseconds) if kind == TIMESTAMP_LOG_APPEND_TIME else None
