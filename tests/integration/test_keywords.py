"""Keywords are added, removed and listed with the commands, and every follower has the same ones."""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka import table
from connectors.kafka.admin import KafkaAdmin, TopicSpec
from connectors.sources.events import SourcePost
from streams.cli import cli
from streams.connections import kafka_config
from streams.errors import InputError, TopologyError
from streams.ingest.keywords.follower import KeywordFollower
from streams.ingest.keywords.selection import Selection
from streams.ingest.keywords.store import add_keywords, read_keywords, remove_keywords
from streams.ops.init import init_topics
from streams.settings import Settings, load_settings
from tests.helpers import NOON
from tests.integration.support import TIMEOUT_S, configure, free_port, wait_for
from tests.integration.test_deleted_topics import delete
from tests.integration.test_failures import run as failing

Run = Callable[..., Any]
TEXT = "my iPhone and a galaxy s24, 手机好用吗"


@pytest.fixture
def followers(settings: Settings) -> Iterator[list[KeywordFollower]]:
    """Two followers that run."""
    with ExitStack() as stack:
        yield [stack.enter_context(follower(settings)) for _ in range(2)]


@pytest.fixture
def run(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Calls a command in this process, and returns what it prints on stdout and on stderr."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: str = "") -> Any:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        cli.main(list(arguments), standalone_mode=False)
        return capsys.readouterr()

    return call


def follower(settings: Settings) -> KeywordFollower:
    return KeywordFollower(kafka_config(settings), settings.topic_keywords, group=f"{settings.group_prefix}-keywords")


def finds(one: KeywordFollower) -> tuple[str, ...]:
    return one.matcher().find(TEXT)


def test_two_followers_see_changes_and_a_later_one_has_the_same_keywords(
    run: Run, settings: Settings, followers: list[KeywordFollower]
) -> None:
    for one in followers:
        assert one.wait_until_complete(TIMEOUT_S)
        assert len(one.matcher()) == 0

    added = run("keywords", "add", "iPhone", "Galaxy S24", "--file", "-", stdin="好用\nwhat?\n")
    assert added.out == "added 4 keywords; now there are 4\n"
    for one in followers:
        wait_for(lambda one=one: finds(one) == ("iPhone", "Galaxy S24", "好用"), what="a keyword is not followed")

    again = run("keywords", "add", "iphone", "IPHONE")
    assert again.out == "added 0 keywords; 1 there already (iPhone); now there are 4\n"
    again = run("keywords", "add", "IPHONE", "tea", "--json")
    assert json.loads(again.out) == {"added": ["tea"], "present": ["iPhone"], "total": 5}
    removed = run("keywords", "remove", "GALAXY  s24", "WHAT?")
    assert removed.out == "removed 2 keywords; now there are 3\n"
    listed = run("keywords", "list")
    assert listed.out.split("\n") == ["iPhone", "tea", "好用", ""]
    document = json.loads(run("keywords", "list", "--json").out)
    assert [one["keyword"] for one in document["keywords"]] == ["iPhone", "tea", "好用"]
    assert document["refused"] == 0
    for one in followers:
        wait_for(lambda one=one: finds(one) == ("iPhone", "好用"), what="a removal is not followed")

    with follower(settings) as late:
        assert late.wait_until_complete(TIMEOUT_S)
        assert finds(late) == ("iPhone", "好用")
        assert len(late.matcher()) == 3


def test_what_is_listed_can_be_removed(run: Run, settings: Settings) -> None:
    odd = ("C++", "-5", "a|b", "[sale]", "back\\slash", "naïve café", "foo*", "می‌خواهم", "❤️", "🇩🇪")
    add_keywords(settings, odd)
    listed = run("keywords", "list").out
    assert len(listed.splitlines()) == len(odd)
    run("keywords", "remove", "--file", "-", stdin=listed)
    assert run("keywords", "list", "--json").out == '{"keywords": [], "refused": 0}\n'


def test_thousands_of_long_keywords_are_added_at_once(settings: Settings) -> None:
    # Together they are far longer than a batch of the topic may be.
    chance = random.Random(7)
    keywords = [f"{chance.randbytes(90).hex()} {number}" for number in range(2_000)]
    assert add_keywords(settings, keywords).total == 2_000
    assert set(read_keywords(settings).keywords()) == set(keywords)


def test_mistakes_are_one_line_and_change_nothing(env: dict[str, str], settings: Settings) -> None:
    add_keywords(settings, ["iPhone"])
    assert "not among the keywords: 'iphnoe'; did you mean 'iPhone'?" in failing(env, "keywords", "remove", "iphnoe")
    with pytest.raises(InputError, match="not among the keywords: 'a', 'b', 'c' and 1 more; nothing was removed"):
        remove_keywords(settings, ["iPhone", "a", "b", "c", "d"])
    assert read_keywords(settings).keywords() == ("iPhone",)


def test_without_the_topic_a_line_says_what_to_do(env: dict[str, str]) -> None:
    settings = load_settings(env_file=None, environ=env)
    message = f"topic {settings.topic_keywords} does not exist; run `emostream init`"
    with pytest.raises(RejectedError, match=message):
        read_keywords(settings)
    for change in (add_keywords, remove_keywords):
        with pytest.raises(RejectedError, match=message):
            change(settings, ["tea"])


def test_posts_wait_until_the_keywords_are_known(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{free_port()}", "kafka_timeout_s": 1.0})
    with follower(away) as one:
        assert not one.wait_until_complete(0.5)
        assert not one.complete
        selection = Selection(one.matcher, keep_unmatched=False)
        with pytest.raises(UnavailableError, match="are not known yet"):
            selection.keywords_of(SourcePost(id="1", text=TEXT, created_at=NOON))


def test_a_topic_that_is_made_again_has_its_own_keywords(settings: Settings, followers: list[KeywordFollower]) -> None:
    add_keywords(settings, ["iPhone", "tea", "coffee"])
    remove_keywords(settings, ["tea"])
    one = followers[0]
    wait_for(lambda: one.complete and finds(one) == ("iPhone",), what="the keywords are not followed")
    delete(settings, [settings.topic_keywords])
    init_topics(settings, lambda line: None)
    add_keywords(settings, ["好用"])
    wait_for(lambda: finds(one) == ("好用",), what="the former keywords stay")


@pytest.mark.parametrize("existed", [False, True])
def test_a_follower_says_that_the_topic_does_not_exist(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    monkeypatch.setattr(table, "CHECK_S", 0.1)
    monkeypatch.setattr(table, "GONE_S", 0.3)
    if not existed:
        delete(settings, [settings.topic_keywords])
    with follower(settings) as one:
        if existed:
            assert one.wait_until_complete(TIMEOUT_S)
            delete(settings, [settings.topic_keywords])
        # Only the time in which a broker says so counts.
        wait_for(lambda: not one._thread.is_alive(), what="it goes on")
        with pytest.raises(RejectedError, match="does not exist; run `emostream init`"):
            one.matcher()


def test_records_of_others_that_cannot_be_keywords_are_passed_over(run: Run, settings: Settings) -> None:
    add_keywords(settings, ["tea"])
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    producer.produce(settings.topic_keywords, b"\xff", b"1")
    assert producer.flush(120) == 0
    with follower(settings) as one:
        assert one.wait_until_complete(TIMEOUT_S)
        assert len(one.matcher()) == 1
    listed = run("keywords", "list")
    assert listed.out == "tea\n"
    assert "1 record in the topic cannot be a keyword" in listed.err


def test_init_corrects_the_settings_of_the_topic(settings: Settings) -> None:
    configure(settings, settings.topic_keywords, "cleanup.policy", "delete")
    lines: list[str] = []
    init_topics(settings, lines.append)
    assert lines == [f"topic {settings.topic_keywords}: cleanup.policy=compact set"]


def test_init_refuses_a_topic_with_several_partitions(env: dict[str, str]) -> None:
    settings = load_settings(env_file=None, environ=env)
    KafkaAdmin(kafka_config(settings)).create([TopicSpec(settings.topic_keywords, 3)])
    with pytest.raises(TopologyError, match="has 3 partitions; it must have one"):
        init_topics(settings, lambda line: None)
