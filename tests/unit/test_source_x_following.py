"""The rules of the source of X follow the keywords, against a local server."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.x import api, following
from connectors.sources.x.following import RuleLimits
from connectors.sources.x.recovery import RecoveryOptions
from tests.source_servers.http import Reply
from tests.source_servers.x import XServer, problem, reply
from tests.source_servers.x_reading import RULES, STREAM, TAG, failed, listening, source

LIMITS = RuleLimits(rules=2, rule_chars=256)
LONG = ["a" * 200, "b" * 200, "c" * 200]


class Words:
    """Keywords that change."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self) -> tuple[str, ...]:
        return self.words


def changes(server: XServer) -> list[str]:
    """What was asked of the rules: `add`, `delete`."""
    return [next(iter(json.loads(one.body))) for one in server.requests if one.method == "POST"]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_WAIT_S", "_LEAST_WAIT_S", "_MOST_WAIT_S"):
        monkeypatch.setattr(api, name, 0.01)


async def test_the_rules_follow_the_keywords_without_a_reconnect() -> None:
    words = Words("coffee")
    async with XServer() as server:
        server.rule("milk", "another program")
        server.rule("sugar")
        async with listening(server, follow=words) as found:
            assert server.values(TAG) == ["coffee -is:retweet"]
            words.words = ("coffee", "new york")
            await found.detail("the rules were updated: 1")
            assert server.values(TAG) == ['(coffee OR "new york" OR #newyork) -is:retweet']
            server.post("New York!")
            await found.texts("New York!")
            words.words = ("new york",)
            await found.detail("the rules were updated", 2)
            server.post("coffee")
            server.post("#NewYork")
            await found.texts("#NewYork")
            # The new rule is there before the old one goes.
            assert changes(server) == ["add", "add", "delete", "add", "delete"]
            assert server.paths().count(STREAM) == 1
        assert {"milk", "sugar"} < set(server.values())
    assert found.post_texts == ["New York!", "#NewYork"]


async def test_a_restart_changes_no_rule() -> None:
    async with XServer() as server:
        server.page = 2
        for number in range(5):
            server.rule(f"other{number}", "another program")
        for _ in range(2):
            async with listening(server, "coffee", "new york"):
                assert len(server.values(TAG)) == 1
        assert changes(server) == ["add"]


async def test_without_room_for_the_new_rules_the_old_ones_go_first() -> None:
    words = Words(*LONG[:2])
    async with XServer() as server:
        server.limit = 2
        async with listening(server, follow=words, limits=LIMITS) as found:
            words.words = (LONG[0], LONG[2])
            await found.detail("the rules were updated: 2")
            assert server.values(TAG) == [f"{word} -is:retweet" for word in (LONG[0], LONG[2])]
            assert changes(server) == ["add", "delete", "add"]


async def test_keywords_that_do_not_fit_are_an_error() -> None:
    words = Words(*LONG[:2])
    async with XServer() as server:
        async with listening(server, follow=words, limits=LIMITS) as found:
            words.words = tuple(LONG)
            error = await found.error()
        assert type(error) is RejectedError
        assert "3 keywords need 3 rules; 2 are allowed, and 0 of them have other tags" in str(error)
        server.rule("milk", "another program")
        assert "need 2 rules; 2 are allowed, and 1 of them" in str(await failed(server, *LONG[:2], limits=LIMITS))
        assert "is longer than a rule of 256" in str(await failed(server, "x" * 250, limits=LIMITS))
        assert "nothing that X could search for" in str(await failed(server, '"'))


INVALID = problem("invalid-rules", "UnprocessableEntity", value="coffee -is:retweet", details=["a stop\nword"])


@pytest.mark.parametrize("status", [200, 201, 400, 422])
async def test_a_rule_that_x_refuses_is_an_error(status: int) -> None:
    async with XServer() as server:
        server.fail(RULES, reply({"meta": {}}), reply({"errors": [INVALID]}, status))
        error = await failed(server)
    assert type(error) is RejectedError
    assert "X refuses the rule 'coffee -is:retweet'" in str(error)
    assert "a stop word" in str(error)


@pytest.mark.parametrize(
    ("kind", "error"), [("rule-cap", RejectedError), ("a-new-kind", UnavailableError)], ids=["cap", "unknown"]
)
async def test_other_problems_with_rules(kind: str, error: type[Exception]) -> None:
    async with XServer() as server:
        server.fail(RULES, reply({"meta": {}}), reply({"errors": [problem(kind)]}))
        assert type(await failed(server)) is error


async def test_a_rule_that_somebody_adds_at_the_same_time_will_do() -> None:
    async with XServer() as server:
        server.rule(f"{LONG[1]} -is:retweet", "another program")
        server.fail(RULES, reply({"meta": {}}))  # it is not in the list yet
        off = RecoveryOptions(enabled=False)
        async with listening(server, *LONG, limits=replace(LIMITS, rules=3), recovery=off) as found:
            for word in LONG:
                server.post(word)
            await found.texts(*LONG)
        assert server.values(TAG) == [f"{word} -is:retweet" for word in (LONG[0], LONG[2])]
        # A problem with a rule that was not sent would go on for ever.
        server.fail(RULES, reply({"meta": {}}), reply({"errors": [problem("duplicate-rules", value="tea")]}))
        assert "X did not add a rule" in str(await failed(server))


async def test_rules_that_cannot_be_changed_now_are_changed_later(hasty: None) -> None:
    words = Words("coffee")
    async with XServer() as server, listening(server, follow=words) as found:
        server.fail(RULES, Reply(503), Reply(429), Reply(429, headers={"x-rate-limit-reset": "1"}))
        words.words = ("tea",)
        await found.until(lambda: not server.faults)
        await found.detail("the rules were updated")
        server.post("tea")
        await found.texts("tea")
        assert server.paths().count(STREAM) == 1


async def test_when_the_last_keyword_goes_the_rules_go() -> None:
    words = Words("coffee")
    async with XServer() as server:
        server.rule("milk", "another program")
        async with listening(server, follow=words) as found:
            words.words = ()
            error = await found.error()
        assert type(error) is UnavailableError
        assert "X has no stream of everything" in str(error)
        assert server.values() == ["milk"]
        server.rule("coffee -is:retweet", TAG)
        # It waits for a keyword, because it has begun before.
        assert type(await failed(server, follow=words, cursor=found.cursor)) is UnavailableError
        assert server.values() == ["milk"]


async def test_rules_that_somebody_deletes_are_added_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_CHECK_S", 0.05)
    async with XServer() as server, listening(server) as found:
        server.rules.clear()
        await found.until(lambda: server.values(TAG) == ["coffee -is:retweet"])


async def test_keywords_that_are_not_known_end_the_stream() -> None:
    words = Words("coffee")

    def follow() -> tuple[str, ...]:
        if not words.words:
            raise RejectedError("the topic was deleted")
        return words()

    async with XServer() as server, listening(server, follow=follow) as found:
        words.words = ()
        assert "the topic was deleted" in str(await found.error())


async def test_a_source_that_nobody_told_its_keywords_does_not_connect() -> None:
    async with XServer() as server:
        made = source(server, follow=tuple)
        with pytest.raises(RejectedError):
            await anext(made.stream(None))
        await made.close()
        assert server.requests == []
