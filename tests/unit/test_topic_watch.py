"""When topics count as deleted. A broker that has just started may not know them for a moment."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from connectors.errors import UnavailableError
from streams.errors import TopologyError
from streams.process.topic_watch import GONE_S, TopicWatch

IDS = {"posts.raw": "a", "posts.classified": "b"}


@pytest.fixture
def watch() -> TopicWatch:
    admin: Any = None
    return TopicWatch(admin, IDS)


def test_topics_that_stay_are_no_error(watch: TopicWatch) -> None:
    for now in (0.0, GONE_S, 1_000.0):
        watch.check(IDS, now)


def test_a_topic_that_is_missing_for_a_moment_is_no_error(watch: TopicWatch) -> None:
    watch.check({"posts.raw": "a"}, 0.0)
    watch.check(IDS, GONE_S - 1)
    watch.check({"posts.raw": "a"}, GONE_S)
    watch.check({"posts.raw": "a"}, 2 * GONE_S - 1)


def test_a_topic_that_is_missing_for_longer_was_deleted(watch: TopicWatch) -> None:
    watch.check({"posts.raw": "a"}, 0.0)
    with pytest.raises(TopologyError, match=r"^posts.classified: deleted .* run `emostream init`, and start"):
        watch.check({}, GONE_S)


def test_a_topic_with_another_id_was_deleted_and_made_again(watch: TopicWatch) -> None:
    with pytest.raises(TopologyError, match=r"^posts.raw: deleted .* run `emostream init`, and start"):
        watch.check({**IDS, "posts.raw": "c"}, 0.0)


class AbsentKafka:
    """Does not answer the first three calls."""

    def __init__(self, stop: threading.Event) -> None:
        self.calls: list[str] = []
        self.stop = stop

    def topic_ids(self, _: Mapping[str, str]) -> dict[str, str]:
        self.calls.append("ids")
        if self.calls == ["ids"]:
            raise UnavailableError("no broker answers")
        self.stop.set()
        return IDS

    def partition_counts(self) -> dict[str, int]:
        self.calls.append("counts")
        if self.calls.count("counts") < 3:
            raise UnavailableError("no broker answers")
        return {}


def test_the_ids_are_not_asked_for_while_no_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would keep half a core busy."""
    monkeypatch.setattr("streams.process.topic_watch.CHECK_S", 0.0)
    stop = threading.Event()
    admin: Any = AbsentKafka(stop)
    TopicWatch(admin, IDS).run(stop)
    assert admin.calls == ["ids", "counts", "counts", "counts", "ids"]
