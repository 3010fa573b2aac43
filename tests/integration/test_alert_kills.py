"""Two processes evaluate rules: kills and pauses make no incident be lost, and none be announced twice.

The test with kills fails if positions pass windows that are held, and if the states of series are not stored.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka.producer import ConfirmedProducer
from streams.records import AlertRecord, EmotionWindow
from streams.settings import Settings
from tests.forked_role import ForkedAlerts
from tests.integration.alerts_support import incidents, minutes, publish, query, rule, store_rules, told, window
from tests.integration.support import records, wait_for

KILLS = 20
AT_ONCE = 0.25
"""The share of the kills that do not wait until the process has decided something."""

KEYWORDS = ("coffee", "rain", "train", "exam", "goal", "storm")
LOUD = range(3, 11)
PERIOD = 15
"""Each keyword is loud in these minutes of each period; the periods of keywords are shifted."""

FAST = {
    "EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": "1000",  # a process that was killed is replaced after this time
    "EMOSTREAM_ALERT_INTERVAL_MS": "50",
    "EMOSTREAM_ALERT_HOLD_MS": "100",
}


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    return {**env, **FAST}


class Pair:
    """Two processes that evaluate in turn."""

    def __init__(self, settings: Settings, env: dict[str, str], folder: Path) -> None:
        self._settings = settings
        self._env = env
        self._folder = folder
        self._started = 0
        self.roles = [self._start(), self._start()]

    def _start(self) -> ForkedAlerts:
        self._started += 1
        return ForkedAlerts(self._env, self._folder / f"alerts-{self._started}.log")

    def holder(self) -> ForkedAlerts | None:
        """Returns the process that evaluates; None if it is dead, or none has begun."""
        found = query(self._settings, "SELECT holder FROM alert_positions LIMIT 1")
        pid = int(found[0][0].split(":")[-2]) if found and found[0][0] else 0
        return next((role for role in self.roles if role.pid == pid), None)

    def wait_for_holder(self) -> ForkedAlerts:
        wait_for(lambda: self.holder() is not None, what="no process evaluates")
        holder = self.holder()
        assert holder is not None
        return holder

    def replace(self, role: ForkedAlerts) -> None:
        """Kill a process, and start another one."""
        self.roles.remove(role)
        role.kill()
        self.roles.append(self._start())

    def close(self) -> None:
        for role in self.roles:
            role.kill()


@pytest.fixture
def pair(settings: Settings, env: dict[str, str], tmp_path: Path) -> Iterator[Pair]:
    opened = Pair(settings, env, tmp_path)
    yield opened
    opened.close()


def is_loud(keyword: str, minute: int) -> bool:
    return (minute + 4 * KEYWORDS.index(keyword)) % PERIOD in LOUD


def of_minute(minute: int) -> list[EmotionWindow]:
    """Returns provisional and final windows of a minute. A loud keyword has enough posts before the minute ends."""
    counts = {keyword: 20 + minute % 3 if is_loud(keyword, minute) else 4 for keyword in KEYWORDS}
    early = [window(keyword, minute, count - 4, final=False) for keyword, count in counts.items()]
    return [*early, *(window(keyword, minute, count) for keyword, count in counts.items()), window("*", minute, 200)]


def expected(last: int) -> dict[str, tuple[int, int | None]]:
    """Returns the starts and ends, in minutes, of the incidents of the minutes up to `last`."""
    found: dict[str, tuple[int, int | None]] = {}
    for keyword in KEYWORDS:
        began: int | None = None
        for minute in range(last + 1):
            if is_loud(keyword, minute) and began is None:
                began = minute
            elif not is_loud(keyword, minute) and began is not None:
                found[f"{keyword}@{began}"] = (began, minute + 1)
                began = None
        if began is not None:
            found[f"{keyword}@{began}"] = (began, None)
    return found


def ticks(settings: Settings) -> list[tuple[object, ...]]:
    return query(settings, "SELECT decided_to FROM alert_ticks")


def test_kills_announce_each_incident_once(
    settings: Settings, producer: ConfirmedProducer, env: dict[str, str], tmp_path: Path, store_some_rules: None
) -> None:
    chance = random.Random(25)
    publish(settings, producer, of_minute(0))
    pair = Pair(settings, env, tmp_path)
    try:
        minute = 0
        for _ in range(KILLS):
            holder, before = pair.wait_for_holder(), ticks(settings)
            if chance.random() > AT_ONCE:
                wait_for(lambda: ticks(settings) != before, what="nothing is decided")  # noqa: B023 - called at once
            # Windows go on while the kill comes.
            for _ in range(chance.randrange(1, 10)):
                minute += 1
                publish(settings, producer, of_minute(minute))
            pair.replace(holder)
            minute += 1
            publish(settings, producer, of_minute(minute))
        wanted = expected(minute)
        ends = f"SELECT count(*) FROM alert_ticks WHERE decided_to >= '{window('*', minute, 1).end.rfc3339()}'"
        wait_for(lambda: query(settings, ends) == [(1,)], what="the last minute is not decided")
        found = {f"{key.split('|')[1]}@{began}": (began, end) for key, (began, end, *_) in incidents(settings).items()}
        assert found == wanted
        # The deliveries that killed processes had claimed would be tried again after two minutes.
        query(settings, "UPDATE alert_outbox SET due_at = now() WHERE state = 'waiting'")
        events = len(wanted) + sum(end is not None for _, end in wanted.values())
        delivered = "SELECT count(*) FROM alert_outbox WHERE state = 'delivered'"
        wait_for(lambda: query(settings, delivered) == [(events,)], what="not everything is delivered")
    finally:
        pair.close()
    assert Counter(told(settings)) == Counter(set(told(settings)))
    assert len(told(settings)) == events
    # A crash between the delivery and its record repeats the record, exactly as it was.
    written: dict[tuple[str, str], set[bytes]] = {}
    for _, key, value in records(settings, settings.topic_alerts):
        record = AlertRecord.from_json(value)
        assert key == record.incident.encode()
        written.setdefault((record.incident, record.event), set()).add(value)
    assert len(written) == events
    assert {len(values) for values in written.values()} == {1}


@pytest.fixture
async def store_some_rules(settings: Settings) -> None:
    await store_rules(settings, rule(keywords=KEYWORDS))


def test_a_process_that_was_paused_writes_nothing(
    settings: Settings, producer: ConfirmedProducer, pair: Pair, store_some_rules: None
) -> None:
    publish(settings, producer, minutes({0: 5}))
    paused = pair.wait_for_holder()
    query(
        settings,
        "CREATE TABLE writes (holder text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO writes VALUES (NEW.holder); RETURN NEW; END $$; CREATE TRIGGER note AFTER UPDATE ON "
        "alert_positions FOR EACH ROW EXECUTE FUNCTION note()",
    )
    os.kill(paused.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: pair.holder() not in {None, paused}, what="no other process takes over")
        query(settings, "TRUNCATE writes")
        publish(settings, producer, minutes({1: 20}))
        wait_for(lambda: len(incidents(settings)) == 1, what="the other process opens no incident")
    finally:
        os.kill(paused.pid, signal.SIGCONT)
    wait_for(lambda: "another process" in paused.log.read_text("utf-8"), what="the paused process does not notice")
    publish(settings, producer, minutes({2: 20, 3: 1}))
    wait_for(lambda: [end for _, end, *_ in incidents(settings).values()] == [4], what="the incident does not end")
    assert {holder.split(":")[-2] for (holder,) in query(settings, "SELECT DISTINCT holder FROM writes")} == {
        str(role.pid) for role in pair.roles if role is not paused
    }
    assert [(event, channel) for _, event, channel in told(settings)] == [("opened", ""), ("closed", "")]


def test_sigterm_ends_a_process_and_another_one_goes_on_at_once(
    settings: Settings, producer: ConfirmedProducer, pair: Pair, store_some_rules: None
) -> None:
    publish(settings, producer, minutes({0: 5, 1: 20}))
    wait_for(lambda: len(incidents(settings)) == 1, what="no incident")
    holder = pair.wait_for_holder()
    assert holder.stop() == 0
    assert "Traceback" not in holder.log.read_text("utf-8")
    pair.roles.remove(holder)
    publish(settings, producer, minutes({2: 1}))
    wait_for(lambda: [end for _, end, *_ in incidents(settings).values()] == [3], what="nobody goes on")
