"""What the outbox says reaches receivers on real sockets, and the topic: with retries, in order, and after a kill."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest

from connectors.notify.message import Message
from streams.alerts.delivery.channels import read_channels, secrets_of
from streams.alerts.delivery.connect import open_deliverer
from streams.alerts.delivery.deliver import Deliverer, Pace
from streams.alerts.delivery.metrics import DeliveryMetrics
from streams.alerts.delivery.retries import Retries
from streams.alerts.delivery.texts import message_of
from streams.alerts.storage.stored import Explanation, Incident
from streams.records import AlertRecord, AlertWord
from streams.redact import RedactingFilter, remember_secrets
from streams.setting_types import Address
from streams.settings import Settings
from tests.forked_role import ForkedAlerts
from tests.integration.alerts_support import pool, query, until
from tests.integration.link_proxy import LinkProxy
from tests.integration.support import TIMEOUT_S, records, wait_for
from tests.unit.alert_records import reason, record
from tests.unit.receivers import Answer, HttpReceiver, MailBox, http_receiver, mail_server

FAST = Pace(poll_s=0.05, retries=Retries(first_s=0.05, most_s=0.2))
INCIDENT = record().incident
SECRET = "very-secret-token"


@pytest.fixture
def receivers() -> Iterator[dict[str, HttpReceiver]]:
    found = {}
    managers = {
        name: http_receiver() for name in ("hook", "refusing", "asking", "slow", "moved", "chat", "phone", "late")
    }
    for name, manager in managers.items():
        found[name] = manager.__enter__()
    yield found
    for manager in managers.values():
        manager.__exit__(None, None, None)


def as_bytes(content: bytes | str | None) -> bytes:
    """Returns the content of a mail, which aiosmtpd has as bytes or as text."""
    return content.encode() if isinstance(content, str) else content or b""


def store(settings: Settings, found: AlertRecord, events: Mapping[str, Sequence[str]], *, age_h: float = 0) -> None:
    """Store an incident, and rows of the outbox: the channels of each event."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO alert_incidents (incident, rule_id, revision, rule_name, severity, keyword, size_s, measure, "
            "label, direction, began_at, decided_at, ended_at, ended_because, value, usual, posts, reason) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                found.incident, found.rule, found.revision, found.rule_name, found.severity, found.keyword, found.size,
                found.measure, found.label, found.direction, found.began, found.decided, found.ended,
                found.ended_because, found.reason.value, found.reason.usual, found.reason.posts,
                found.reason.to_json().decode(),
            ),
        )  # fmt: skip
        for event, channels in events.items():
            for channel in channels:
                connection.execute(
                    "INSERT INTO alert_outbox (incident, event, channel, created_at) "
                    "VALUES (%s, %s, %s, now() - make_interval(secs => %s))",
                    (found.incident, event, channel, 3_600 * age_h),
                )


class Explainer:
    """Adds a word, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def explain(self, incident: Incident) -> Explanation:
        self.asked.append(incident.incident)
        await asyncio.sleep(0)
        return Explanation(replace(incident.reason, words=(AlertWord("explained", 5.0, 10, 1),)))


@asynccontextmanager
async def delivering(
    settings: Settings, channels: Path, *, explainer: Explainer | None = None, metrics: DeliveryMetrics | None = None
) -> AsyncIterator[Deliverer]:
    """Deliver in this process until the block ends."""
    found = read_channels(channels)
    remember_secrets(secrets_of(found))
    stop = asyncio.Event()
    metrics = metrics or DeliveryMetrics(CollectorRegistry())
    async with pool(settings) as opened, open_deliverer(settings, opened, found, metrics, FAST) as deliverer:
        if explainer is not None:
            deliverer._explainer = explainer
        task = asyncio.create_task(deliverer.run(stop))
        try:
            yield deliverer
        finally:
            stop.set()
            await asyncio.wait_for(task, TIMEOUT_S)


def rows(settings: Settings) -> dict[tuple[str, str], tuple[str, int, str | None]]:
    """Returns state, attempts and last error by channel and event."""
    found = query(settings, "SELECT channel, event, state, attempts, last_error FROM alert_outbox")
    return {(channel, event): (state, attempts, error) for channel, event, state, attempts, error in found}


def states(settings: Settings, *keys: tuple[str, str]) -> set[str]:
    found = rows(settings)
    return {found[key][0] for key in keys}


async def test_each_channel_is_told_at_its_own_pace(  # noqa: PLR0915 - one outbox, and what became of its rows
    settings: Settings, tmp_path: Path, receivers: dict[str, HttpReceiver], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    caplog.handler.addFilter(RedactingFilter())
    box = MailBox()
    receivers["hook"].answers = [Answer(500, body=f"{SECRET}!".encode()), Answer(), Answer(503)]
    receivers["refusing"].answers = [Answer(400), Answer(400)]
    receivers["asking"].answers = [Answer(429, {"Retry-After": "600"})]
    receivers["slow"].answers = [Answer(hang=True)]
    receivers["moved"].answers = [Answer(307, {"Location": receivers["hook"].url})]
    urls = {name: f"{receiver.url}/{SECRET}" for name, receiver in receivers.items()}
    with mail_server(box) as port:
        channels = tmp_path / "channels.toml"
        texts = [
            f'[channels.{name}]\ntype = "webhook"\nurl = "{urls[name]}"\nsecret = "secret-of-16-chars-{SECRET}"\n'
            for name in ("hook", "refusing", "asking", "moved", "late")
        ]
        texts += [f'[channels.slow]\ntype = "webhook"\nurl = "{urls["slow"]}"\ntimeout_s = 60\n']
        texts += [f'[channels.chat]\ntype = "slack"\nurl = "{urls["chat"]}"\nper_minute = 1\n']
        texts += [f'[channels.phone]\ntype = "apprise"\nurl = "{urls["phone"].replace("http:", "json:")}"\n']
        texts += [
            f'[channels.mail]\ntype = "email"\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n'
            'from = "emostream@example.com"\nto = ["one@example.com"]\n'
        ]
        channels.write_text("\n".join(texts))
        prompt = ("", "hook", "mail", "phone")
        others = ("refusing", "asking", "slow", "moved", "chat", "gone")
        found = record(ended=record().decided, ended_because="cleared")
        store(settings, found, dict.fromkeys(("opened", "closed"), (*prompt, *others)))
        store(settings, record(incident="old|x|60|y"), {"opened": ["late"]}, age_h=25)
        receivers["late"].answers = [Answer(500)]
        explainer, metrics = Explainer(), DeliveryMetrics(registry := CollectorRegistry())
        async with delivering(settings, channels, explainer=explainer, metrics=metrics):
            done = [(name, event) for name in prompt for event in ("opened", "closed")]
            await until(lambda: states(settings, *done) == {"delivered"}, what="not all are told")
            failing = [(name, "opened") for name in ("refusing", "moved", "gone", "late")]
            await until(lambda: states(settings, *failing) == {"failed"}, what="not all have failed")
            await until(lambda: states(settings, ("chat", "opened")) == {"delivered"}, what="the chat is not told")
            await until(lambda: rows(settings)["asking", "opened"][2] is not None, what="nobody asked to wait")
            receivers["slow"].over.set()
    found_rows = rows(settings)

    # The hook failed once for each event. Repeats have the same key, and the end comes after the start.
    keys = [request.headers["idempotency-key"] for request in receivers["hook"].received]
    assert keys == [f"{INCIDENT}/opened"] * 2 + [f"{INCIDENT}/closed"] * 2
    assert found_rows["hook", "opened"] == ("delivered", 2, None)
    bodies = [AlertRecord.from_json(request.body) for request in receivers["hook"].received]
    assert bodies[0] == bodies[1]
    assert [body.event for body in bodies] == ["opened", "opened", "closed", "closed"]
    assert [word.word for word in bodies[0].reason.words] == ["explained"]
    assert bodies[0].channels == tuple(sorted({*prompt, *others} - {""}))
    assert (bodies[0].ended, bodies[3].ended_because) == (None, "cleared")

    # The topic has both events, with the incident as the key.
    on_topic = [(key, AlertRecord.from_json(value).event) for _, key, value in records(settings, settings.topic_alerts)]
    assert on_topic == [(INCIDENT.encode(), "opened"), (INCIDENT.encode(), "closed")]
    # Each incident was explained once, for all channels and events.
    assert sorted(explainer.asked) == sorted([INCIDENT, "old|x|60|y"])

    # Who refuses is told nothing again; who asks to wait is not asked before; who is slow holds up nobody.
    assert found_rows["refusing", "opened"][:2] == ("failed", 1)
    assert found_rows["refusing", "closed"][:2] == ("failed", 1)
    assert "redirects are not followed" in str(found_rows["moved", "opened"][2])
    assert found_rows["late", "opened"][:2] == ("failed", 1)
    assert found_rows["gone", "closed"] == ("failed", 0, "the channels file has no such channel")
    assert found_rows["asking", "opened"][:2] == ("waiting", 1)
    assert found_rows["asking", "closed"][:2] == ("waiting", 0)
    [(wait_s,)] = query(settings, "SELECT extract(epoch FROM due_at - now())::float8 FROM alert_outbox "
                                  "WHERE channel = 'asking' AND event = 'opened'")  # fmt: skip
    assert 300 < wait_s <= 600
    # The chat takes one message a minute.
    assert found_rows["chat", "closed"][:2] == ("waiting", 0)
    assert "explained" in json.loads(receivers["chat"].received[0].body)["text"]

    assert [len(box.mails), len(receivers["phone"].received)] == [2, 2]
    begin, end = (message_from_bytes(as_bytes(mail.content), policy=default) for mail in box.mails)
    assert end["In-Reply-To"] == begin["Message-ID"]

    # Secrets are nowhere.
    text = generate_latest(registry).decode()
    said = "\n".join([caplog.handler.format(entry) for entry in caplog.handler.records])
    assert "is told of" in said
    assert SECRET not in said + text + repr(found_rows)
    assert 'emostream_alerts_deliveries_total{channel="hook",result="retried"} 2.0' in text
    assert 'emostream_alerts_deliveries_total{channel="late",result="expired"} 1.0' in text
    assert 'emostream_alerts_deliveries_total{channel="gone",result="unknown"} 2.0' in text
    assert 'emostream_alerts_deliveries_total{channel="(topic)",result="delivered"} 2.0' in text


async def test_a_kill_between_sending_and_recording_repeats_the_message_with_its_key(
    settings: Settings, env: dict[str, str], tmp_path: Path, receivers: dict[str, HttpReceiver]
) -> None:
    hook = receivers["hook"]
    channels = tmp_path / "channels.toml"
    channels.write_text(f'[channels.hook]\ntype = "webhook"\nurl = "{hook.url}/hook"\ntimeout_s = 60\n')
    store(settings, record(reason=reason()), {"opened": ["hook"]})
    # The receiver has the whole message, and the process does not know it.
    hook.answers = [Answer(hang=True)]
    role = ForkedAlerts({**env, "EMOSTREAM_ALERT_CHANNELS": str(channels)}, tmp_path / "alerts.log")
    try:
        wait_for(lambda: bool(hook.received), what=lambda: role.log.read_text("utf-8"))
    finally:
        role.kill()
    assert rows(settings)["hook", "opened"] == ("waiting", 1, None)
    # Nobody else may send it before the lease of the process that was killed ends.
    [(lease_s,)] = query(settings, "SELECT extract(epoch FROM due_at - now())::float8 FROM alert_outbox")
    assert lease_s > 60
    async with delivering(settings, channels):
        query(settings, "UPDATE alert_outbox SET due_at = now()")
        await until(lambda: states(settings, ("hook", "opened")) == {"delivered"}, what="it is not told again")
    first, second = hook.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == f"{INCIDENT}/opened"
    assert first.body == second.body
    assert rows(settings)["hook", "opened"] == ("delivered", 2, None)


async def test_two_processes_send_a_message_once(
    settings: Settings, tmp_path: Path, receivers: dict[str, HttpReceiver]
) -> None:
    hook = receivers["hook"]
    channels = tmp_path / "channels.toml"
    channels.write_text(f'[channels.hook]\ntype = "webhook"\nurl = "{hook.url}/hook"\n')
    for number in range(20):
        store(settings, record(incident=f"r|k{number}|60|x"), {"opened": ["hook"]})
    explainer = Explainer()
    async with (
        delivering(settings, channels, explainer=explainer),
        delivering(settings, channels, explainer=explainer),
    ):
        done = "SELECT count(*) FROM alert_outbox WHERE state = 'delivered' AND attempts = 1"
        await until(lambda: query(settings, done) == [(20,)], what="not all are told")
    assert len(hook.received) == len({request.headers["idempotency-key"] for request in hook.received}) == 20


async def test_what_was_sent_is_recorded_when_postgres_answers_again(
    settings: Settings, tmp_path: Path, receivers: dict[str, HttpReceiver], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    hook, answer = receivers["hook"], threading.Event()
    hook.answers = [Answer(after=answer)]
    channels = tmp_path / "channels.toml"
    channels.write_text(f'[channels.hook]\ntype = "webhook"\nurl = "{hook.url}/hook"\ntimeout_s = 60\n')
    store(settings, record(), {"opened": ["hook"]})
    store(settings, record(incident="r|later|60|x"), {})
    metrics = DeliveryMetrics(CollectorRegistry())
    dsn = urlsplit(settings.postgres_dsn.get_secret_value())
    with LinkProxy(dsn.hostname or "", dsn.port or 0) as proxy:
        netloc = f"{dsn.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        linked = settings.model_copy(update={"postgres_dsn": Address(urlunsplit(dsn._replace(netloc=netloc)))})
        async with delivering(linked, channels, explainer=Explainer(), metrics=metrics):
            await until(lambda: bool(hook.received), what="nothing is sent")
            proxy.cut()
            answer.set()
            await until(lambda: metrics.outages._value.get() == 1, what="the outage is not noticed")
            assert rows(settings)["hook", "opened"] == ("waiting", 1, None)
            new = "INSERT INTO alert_outbox (incident, event, channel) VALUES ('r|later|60|x', 'opened', 'hook')"
            query(settings, new)
            proxy.restore()
            done = "SELECT count(*) FROM alert_outbox WHERE state = 'delivered' AND attempts = 1"
            await until(lambda: query(settings, done) == [(2,)], what="nothing is recorded")
    assert [request.headers["idempotency-key"] for request in hook.received] == [
        f"{INCIDENT}/opened", "r|later|60|x/opened",
    ]  # fmt: skip
    assert "nobody is told of incidents now" in caplog.text


async def test_a_message_that_cannot_be_written_holds_up_no_other_one(
    settings: Settings,
    tmp_path: Path,
    receivers: dict[str, HttpReceiver],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def written(found: AlertRecord, **options: Any) -> Message:
        if found.incident == INCIDENT:
            raise ValueError("a defect of a release")
        return message_of(found, **options)

    monkeypatch.setattr("streams.alerts.delivery.deliver.message_of", written)
    hook = receivers["hook"]
    channels = tmp_path / "channels.toml"
    channels.write_text(f'[channels.hook]\ntype = "webhook"\nurl = "{hook.url}/hook"\n')
    store(settings, record(), {"opened": ["hook"]})
    store(settings, record(incident="r|other|60|x"), {"opened": ["hook"]})
    async with delivering(settings, channels, explainer=Explainer()):
        done = "SELECT incident FROM alert_outbox WHERE state = 'delivered'"
        await until(lambda: query(settings, done) == [("r|other|60|x",)], what="the other one is not told")
        error = f"SELECT last_error FROM alert_outbox WHERE state = 'waiting' AND incident = '{INCIDENT}'"
        wanted = [("a defect of emostream: ValueError; the log has its stack trace",)]
        await until(lambda: query(settings, error) == wanted, what="the defect is not recorded")
    assert "a defect of a release" in caplog.text
