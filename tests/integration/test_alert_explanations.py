"""The words and posts of an incident come from Kafka, within bounds, and an incident without them says why."""

from __future__ import annotations

import re
from dataclasses import replace as with_fields
from datetime import UTC, timedelta

from msgspec.structs import replace

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.alerts.explanation.evidence import SPARE_EXAMPLES
from streams.alerts.explanation.explain import Bounds, KafkaExplainer
from streams.alerts.storage.stored import MAX_EXAMPLES, Incident
from streams.connections import kafka_config, scan_group
from streams.records import Timestamp, to_ms
from streams.settings import Settings
from tests.helpers import classified
from tests.integration.support import TIMEOUT_S
from tests.unit.alert_records import reason

NOW = Timestamp.now(UTC).replace(microsecond=0)
BEGAN = NOW - timedelta(minutes=10)


def incident(**changes: object) -> Incident:
    fields = {
        "incident": "r|coffee|600|x", "rule": "r", "revision": 1, "rule_name": "r", "severity": "info",
        "keyword": "coffee", "size": 600, "measure": "emotion", "label": "anger", "direction": "above",
        "began": BEGAN, "decided": NOW, "ended": None, "ended_because": None, "muted": False,
        "reason": reason(words=(), examples=()), "explained_at": None, "found_at": NOW, **changes,
    }  # fmt: skip
    return Incident(**fields)  # type: ignore[arg-type]


def explainer(settings: Settings, **bounds: float) -> KafkaExplainer:
    limits = Bounds(**bounds)  # type: ignore[arg-type]
    return KafkaExplainer(kafka_config(settings), settings.topic_classified, group=scan_group(settings), bounds=limits)


def write(settings: Settings, producer: ConfirmedProducer) -> None:
    """Write posts about coffee to all partitions: quiet ones before the incident, angry ones in it, and others."""
    outgoing = []
    for number in range(240):
        partition = number % settings.partitions
        is_now, is_coffee = number % 2 == 0, number % 6 != 1
        at = BEGAN + timedelta(seconds=number) if is_now else BEGAN - timedelta(seconds=60 + number)
        name = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        text = f"the queue at the café is long, says {name}" if is_now else f"a nice cup in the morning, says {name}"
        keyword = "coffee" if is_coffee else 'tea and "coffee"'
        label = "anger" if is_now and number % 4 == 0 else "joy"
        post = classified(number, at=to_ms(at), partition=partition, keywords=[keyword], label=label)
        post = replace(post, text=text, author=f"author {number % 50}", url="https://example.com/")
        outgoing.append(Outgoing(settings.topic_classified, post.to_json(), post.id.encode(), partition))
    outgoing.append(Outgoing(settings.topic_classified, b"no post about coffee", b"x", 0))
    outgoing.append(Outgoing(settings.topic_classified, b'{"coffee": "coffee"}', b"x", 0))
    producer.submit(outgoing).result(TIMEOUT_S)


async def test_words_and_posts_of_an_incident(settings: Settings, producer: ConfirmedProducer) -> None:
    write(settings, producer)
    explained = await explainer(settings).explain(incident())
    found = explained.reason
    words = {word.word: (word.now, word.before) for word in found.words}
    assert words["queue"] == (120, 0)
    assert "coffee" not in words
    assert "cup" not in words
    assert {post.label for post in found.examples} == {"anger"}
    assert all("queue" in (post.text or "") for post in found.examples)
    assert all(re.fullmatch(r"author \d+", explained.authors[post.id]) for post in found.examples)
    assert len(found.examples) == MAX_EXAMPLES + SPARE_EXAMPLES
    assert found.note is None
    assert replace(found, words=(), examples=()) == incident().reason

    everyone = (await explainer(settings).explain(incident(keyword="*", measure="volume", label=None))).reason
    assert {word.word: (word.now, word.before) for word in everyone.words}["queue"] == (120, 0)

    few = (await explainer(settings, records=80).explain(incident())).reason
    assert few.examples
    assert few.note is not None
    chosen = re.fullmatch(r"Words and posts are chosen from (\d+) posts, a part of all\.", few.note)
    assert chosen is not None
    assert 0 < int(chosen[1]) <= 40

    late = (await explainer(settings, seconds=0).explain(incident())).reason
    assert (late.words, late.examples) == ((), ())
    assert late.note == "Words and posts are missing: Kafka did not give the posts in time."

    # An incident of silence has no posts that could be missing.
    silence = incident(keyword="rain", measure="volume", label=None, reason=reason(value=0, posts=0, examples=()))
    quiet = (await explainer(settings).explain(silence)).reason
    assert (quiet.words, quiet.examples) == ((), ())
    assert quiet.note == "There are no words and posts, because the window has no posts."

    # Old posts that were classified only now: Kafka's times are far from theirs.
    other = incident(keyword="rain")
    none = (await explainer(settings).explain(other)).reason
    assert none.note == "Words and posts are missing: Kafka does not hold the posts of the incident."


async def test_an_incident_of_the_past_is_explained_by_posts_that_were_classified_now(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    past = timedelta(days=30)
    posts = [
        classified(n, at=to_ms(BEGAN - past + timedelta(seconds=n - 50)), keywords=["coffee"], label="anger")
        for n in range(100)
    ]
    texts = [f"a queue {n}" if n >= 50 else f"a nice cup {n}" for n in range(100)]
    producer.submit(
        [
            Outgoing(settings.topic_classified, replace(post, text=text).to_json(), post.id.encode(), 0)
            for post, text in zip(posts, texts, strict=True)
        ]
    ).result(TIMEOUT_S)
    found = (await explainer(settings).explain(incident(began=BEGAN - past, decided=NOW - past))).reason
    assert {word.word: (word.now, word.before) for word in found.words}["queue"] == (50, 0)
    assert found.note == "Of 50 posts, many have the same text (50)."


async def test_without_kafka_the_reason_says_so(settings: Settings) -> None:
    config = with_fields(kafka_config(settings), bootstrap="127.0.0.1:9", timeout_s=1.0)
    found = (
        await KafkaExplainer(config, settings.topic_classified, group="x", bounds=Bounds()).explain(incident())
    ).reason
    assert found.note is not None
    assert found.note.startswith("Words and posts are missing: ")
    assert "127.0.0.1:9" in found.note
    assert found.words == ()


async def test_without_the_topic_the_reason_says_so(settings: Settings) -> None:
    missing = KafkaExplainer(kafka_config(settings), "no.such.topic", group=scan_group(settings))
    found = (await missing.explain(incident())).reason
    assert found.note == "Words and posts are missing: Kafka does not hold the posts of the incident."
