from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from connectors.errors import ConnectorError
from connectors.kafka.batch import Batch, UnreadableBatch
from connectors.kafka.producer import Outgoing, WrittenOffsets
from models.classifier import Classification
from models.package.manifest import Head
from models.text.model_set import ModelSet
from streams.metrics import Metrics
from streams.pipeline.classify import ClassifyStage
from streams.records import ClassifiedPost, DeadPost, DeadReason, rfc3339
from streams.windows.post import PostForCounting
from tests.classify_harness import OTHER, FakeClassifier, Harness, raw
from tests.helpers import NOON, RecordingDeliverer, make_settings, message
from tests.tiny_model import SENTIMENT


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.stage.close()


async def test_a_classified_post_has_every_field(harness: Harness) -> None:
    await harness.process(raw(7, partition=3, keywords=["tea"], lang="en", author="me", url="https://example.org"))
    (record,) = harness.out.to("posts.classified")
    assert (record.partition, record.key) == (3, b"id-7")
    (post,) = harness.results
    assert (post.id, post.text, post.keywords, post.created_at) == ("id-7", "hello :)", ("tea",), NOON)
    assert (post.source, post.lang, post.author, post.url) == ("web", "en", "me", "https://example.org")
    assert (post.label, post.confidence, post.scores) == ("joy", 0.75, {"anger": 0.25, "joy": 0.75})
    assert (post.model.name, post.model.version, post.model.tier) == ("tiny", "1.2.3", "quick")
    assert post.sentiment is None
    assert (post.origin.topic, post.origin.partition, post.origin.offset) == ("posts.raw", 3, 7)
    assert timedelta(0) <= datetime.now(UTC) - post.classified_at < timedelta(minutes=1)


async def test_the_aggregate_stage_gets_what_it_would_read_from_the_records(harness: Harness) -> None:
    harness.out.ends["posts.classified", 1] = 40
    batch = [
        raw(0, keywords=["tea"]),
        raw(1, text="bad"),
        raw(7, partition=1),
        raw(2, text="grr"),
        message(b"", offset=3),
    ]
    await harness.process(*batch)
    first, second = harness.own_records.take(10)
    written = [
        PostForCounting.of(ClassifiedPost.from_json(record.value)) for record in harness.out.to("posts.classified")
    ]
    assert (first.partition, first.first, first.items) == (0, 0, [written[0], written[2]])
    assert (second.partition, second.first, second.items) == (1, 40, [written[1]])


async def test_the_aggregate_stage_fetches_posts_of_sources(harness: Harness) -> None:
    """One of them in a partition is enough: the broker's time decides whether it is a duplicate."""
    batch = [raw(0), raw(1, id="rss:1"), raw(2), raw(3, partition=1), raw(4, partition=2, id="bluesky:1", text="bad")]
    harness.out.ends["posts.classified", 0] = 40
    await harness.process(*batch)
    told = {own.partition: (own.first, len(own.items)) for own in harness.own_records.take(10)}
    assert told == {0: (43, 0), 1: (0, 1)}, "the second one has no post in partition 2"


async def test_posts_of_sources_are_own_records_if_their_duplicates_count() -> None:
    harness = Harness(source_deduplication_s=0)
    await harness.process(raw(0, id="rss:1"))
    harness.stage.close()
    (own,) = harness.own_records.take(10)
    assert len(own.items) == 1


@pytest.mark.parametrize("written", [{}, {("posts.classified", 0): range(5, 8)}])
async def test_the_aggregate_stage_gets_no_posts_whose_offsets_are_not_known(written: WrittenOffsets) -> None:
    """The broker did not return their offsets, or another producer wrote between them."""

    class Other(RecordingDeliverer):
        async def deliver(self, records: Sequence[Outgoing]) -> WrittenOffsets:
            await super().deliver(records)
            return written

    harness = Harness(Other())
    await harness.process(raw(0), raw(1))
    harness.stage.close()
    assert len(harness.results) == 2
    assert len(harness.own_records) == 0


async def test_results_keep_order_and_partition(harness: Harness) -> None:
    batch = [raw(offset, partition=offset % 3, text=":)" if offset % 2 else "grr") for offset in range(20)]
    await harness.process(*batch)
    assert [post.origin.offset for post in harness.results] == list(range(20))
    assert [record.partition for record in harness.out.to("posts.classified")] == [offset % 3 for offset in range(20)]
    assert [post.label for post in harness.results] == ["anger", "joy"] * 10
    assert harness.classifier.calls == [[post.text for post in harness.results]]


async def test_the_text_is_left_out_if_keep_text_is_off() -> None:
    harness = Harness(keep_text=False)
    await harness.process(raw(0, text="private :)"))
    harness.stage.close()
    assert harness.results[0].label == "joy"
    assert b"private" not in harness.out.to("posts.classified")[0].value


async def test_posts_are_repaired_and_counted(harness: Harness) -> None:
    await harness.process(raw(1, text="a\0"), raw(2), raw(3, text="b\ud83d"), raw(4, text="x" * 5_001))
    assert [post.text for post in harness.results] == ["a\ufffd", "hello :)", "b\ufffd"]
    assert [letter.reason for letter in harness.letters] == ["text_too_long"]
    assert harness.metric("emostream_posts_repaired_total", problem="characters") == 2
    assert harness.metric("emostream_posts_repaired_total", problem="long_text") == 0


async def test_what_is_repaired_is_a_setting() -> None:
    harness = Harness(invalid_characters="refuse", long_texts="cut", text_max_chars=5)
    await harness.process(raw(1, text="a\0"), raw(2, text="123456"), raw(3, text="short"))
    assert [(post.text, post.truncated) for post in harness.results] == [("12345", True), ("short", False)]
    assert [letter.reason for letter in harness.letters] == ["invalid_record"]
    assert harness.metric("emostream_posts_repaired_total", problem="long_text") == 1
    harness.stage.close()


async def test_every_message_ends_in_exactly_one_place(harness: Harness) -> None:
    batch = [
        raw(0),
        message(None, offset=1, key=b"gone"),
        message(b"\xff", offset=2),
        raw(3, text=" "),
        raw(4, text="x" * 5_001),
        raw(5, created_at=rfc3339(datetime.now(UTC) + timedelta(hours=1))),
        raw(6, id=""),
        raw(8),
    ]
    await harness.process(*batch)
    assert [post.origin.offset for post in harness.results] == [0, 8]
    assert [(letter.origin.offset, letter.reason) for letter in harness.letters] == [
        (1, DeadReason.EMPTY_MESSAGE),
        (2, DeadReason.INVALID_JSON),
        (3, DeadReason.EMPTY_TEXT),
        (4, DeadReason.TEXT_TOO_LONG),
        (5, DeadReason.FUTURE_TIMESTAMP),
        (6, DeadReason.INVALID_RECORD),
    ]
    assert base64.b64decode(harness.letters[1].raw) == b"\xff"
    assert [record.key for record in harness.out.to("posts.dead")][:2] == [b"gone", None]
    assert harness.metric("emostream_posts_classified_total") == 2
    assert harness.metric("emostream_tier_answers_total", model="tiny", tier="quick") == 2
    assert harness.metric("emostream_dead_letters_total", reason="empty_text") == 1


async def test_dead_letters_are_confirmed_before_results_are_written(harness: Harness) -> None:
    # The last classified post is the stage's position: a dead letter before it must be in the log by then.
    await harness.process(raw(0), message(b"", offset=1), raw(2))
    topics = [[record.topic for record in call] for call in harness.out.calls if call]
    assert topics == [["posts.dead"], ["posts.classified", "posts.classified"]]


async def test_one_bad_text_costs_only_itself(harness: Harness) -> None:
    await harness.process(raw(0), raw(1, text="bad"), raw(2, text="grr"), raw(3, text="so bad"))
    assert [(post.origin.offset, post.label) for post in harness.results] == [(0, "joy"), (2, "anger")]
    assert [(letter.origin.offset, letter.reason) for letter in harness.letters] == [
        (1, DeadReason.CLASSIFICATION_FAILED),
        (3, DeadReason.CLASSIFICATION_FAILED),
    ]
    assert harness.letters[0].error == "RuntimeError: the network fell over"
    assert json.loads(base64.b64decode(harness.letters[0].raw))["text"] == "bad"
    assert harness.metric("emostream_dead_letters_total", reason="classification_failed") == 2


async def test_a_text_without_probabilities_costs_only_itself(harness: Harness) -> None:
    await harness.process(raw(0), raw(1, text="nan"), raw(2))
    assert [post.origin.offset for post in harness.results] == [0, 2]
    assert [letter.reason for letter in harness.letters] == [DeadReason.CLASSIFICATION_FAILED]


async def test_a_broken_model_raises_and_dead_letters_no_post(harness: Harness) -> None:
    harness.classifier.broken = True
    with pytest.raises(RuntimeError, match="fell over"):
        await harness.process(raw(0), raw(1))
    assert harness.out.calls == []


async def test_a_model_that_predicts_too_little_is_broken(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Classification({"mood": np.zeros((0, 2), np.float32)}, np.zeros(0, np.intp))
    monkeypatch.setattr(harness.classifier, "classify", lambda texts: nothing)
    with pytest.raises(ValueError, match="0 predictions for 1 texts"):
        await harness.process(raw(0))


async def test_a_batch_may_be_dead_letters_only(harness: Harness) -> None:
    await harness.process(message(b"", offset=0))
    assert len(harness.letters) == 1
    assert harness.results == []


async def test_the_log_names_dead_letters(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    await harness.process(raw(0), message(b"{", offset=1), message(b"", offset=2, partition=3))
    assert caplog.messages == [
        "2 dead letters on posts.dead (invalid_json 1, empty_message 1); the last is posts.raw[3]@2, "
        "the message has no value. `emostream tail dead` shows them"
    ]


@pytest.mark.parametrize("topic", ["posts.dead", "posts.classified"])
async def test_nothing_is_counted_that_was_not_confirmed(topic: str) -> None:
    harness = Harness(RecordingDeliverer(fails_on=topic))
    with pytest.raises(ConnectorError):
        await harness.process(raw(0), message(b"", offset=1))
    harness.stage.close()
    assert harness.results == []
    assert harness.metric("emostream_posts_classified_total") == 0
    assert harness.metric("emostream_dead_letters_total", reason="empty_message") == 0


async def test_a_post_is_from_the_future_by_the_brokers_clock(harness: Harness) -> None:
    """So a second reading an hour later makes the same dead letter, and not a classified post."""
    value = json.dumps({"id": "1", "text": "hello :)", "created_at": rfc3339(NOON), "source": "web"}).encode()
    noon_ms = int(NOON.timestamp() * 1_000)
    too_early = noon_ms - 300_001
    await harness.process(
        message(value, offset=0, appended=too_early), message(value, offset=1, appended=noon_ms - 300_000)
    )
    assert [(letter.reason, letter.origin.offset) for letter in harness.letters] == [("future_timestamp", 0)]
    assert [result.origin.offset for result in harness.results] == [1]


async def test_every_record_names_the_tier_that_classified_it(harness: Harness) -> None:
    await harness.process(raw(0), raw(1, text="hard :)"), raw(2, text="hard"))
    assert [post.model.tier for post in harness.results] == ["quick", "full", "full"]
    assert harness.metric("emostream_tier_answers_total", model="tiny", tier="quick") == 1
    assert harness.metric("emostream_tier_answers_total", model="tiny", tier="full") == 2


async def test_sentiment_is_the_mean_of_the_labels_values() -> None:
    half = SENTIMENT.model_copy(update={"values": (-0.5, 0.0, 1.0)})
    harness = Harness(classifier=FakeClassifier(half))
    await harness.process(raw(0), raw(1, text="grr"))
    harness.stage.close()
    found = [post.sentiment for post in harness.results]
    assert [(each.label, each.score) for each in found if each] == [("positive", 0.625), ("negative", -0.35)]


@pytest.mark.parametrize("head", [SENTIMENT.model_copy(update={"values": None}), Head(**{**dict(OTHER), "name": "x"})])
async def test_a_model_without_sentiment_values_or_head_gives_no_sentiment(head: Head) -> None:
    fake = FakeClassifier(head)
    harness = Harness(classifier=fake)
    await harness.process(raw(0))
    harness.stage.close()
    assert b'"sentiment":null' in harness.out.to("posts.classified")[0].value


async def test_a_text_without_sentiment_numbers_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeClassifier(SENTIMENT)
    real = fake.classify

    def classify(texts: Sequence[str]) -> Classification:
        found = real(texts)
        found.probabilities["sentiment"][["odd" in text for text in texts]] = np.nan
        return found

    monkeypatch.setattr(fake, "classify", classify)
    harness = Harness(classifier=fake)
    await harness.process(raw(0), raw(1, text="odd"))
    harness.stage.close()
    assert [post.origin.offset for post in harness.results] == [0]
    assert [letter.reason for letter in harness.letters] == [DeadReason.CLASSIFICATION_FAILED]


async def test_a_batch_keeps_its_model_when_the_model_is_replaced() -> None:
    """The old model fails on a batch and is replaced before the texts are classified alone. It classifies them all."""
    old, new = FakeClassifier(), FakeClassifier(version="2.0.0")
    asked = []

    def current_models() -> ModelSet[FakeClassifier]:
        asked.append(old if not asked else new)
        return ModelSet(asked[-1])

    out = RecordingDeliverer()
    stage = ClassifyStage(make_settings(), current_models, out, Metrics(), own_records=None)
    for batch in (Batch(1, [raw(0), raw(1, text="bad"), raw(2)], {0: 0}), Batch(1, [raw(3)], {0: 3})):
        await stage.deliver(await stage.prepare(batch))
    stage.close()
    posts = [ClassifiedPost.from_json(record.value) for record in out.to("posts.classified")]
    assert [post.model.version for post in posts] == ["1.2.3", "1.2.3", "2.0.0"]
    assert asked == [old, new], "asked once per batch"
    assert [len(call) for call in new.calls] == [1]


async def test_a_batch_that_cannot_be_read_is_dead_lettered_before_later_posts_are_written() -> None:
    """The last classified post is the position: a crash between the two must not lose the dead letter."""
    harness = Harness()
    unreadable = UnreadableBatch("posts.raw", 3, 10, 210, "it is damaged")
    later = raw(210, text="fine :)")
    batch = Batch(1, [later], {3: 10}, unreadable=[unreadable])
    await harness.stage.deliver(await harness.stage.prepare(batch))
    assert [record.topic for call in harness.out.calls for record in call] == ["posts.dead", "posts.classified"]
    letter = DeadPost.from_json(harness.out.to("posts.dead")[0].value)
    assert (letter.reason, letter.origin.topic) == (DeadReason.UNREADABLE_BATCH, "posts.raw")
    assert (letter.origin.partition, letter.origin.offset, letter.last_offset) == (3, 10, 209)
    assert letter.error == "posts.raw[3]: offsets 10 to 209 cannot be read: it is damaged"
    counted = harness.metrics.registry.get_sample_value
    assert counted("emostream_unreadable_offsets_total", {"topic": "posts.raw"}) == 200
    assert counted("emostream_dead_letters_total", {"reason": "unreadable_batch"}) == 1
