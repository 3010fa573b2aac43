"""Tells the channels and the topic of alerts what the outbox says, at least once, each channel at its own pace.

For each delivery:

1. Claim it. The claim is a lease: after a crash another try begins when the lease ends.
2. Explain the incident, once for all channels, and store the words and posts.
3. Send the message. Its key is the same in each try, so that a receiver can drop a repeat.
4. Record that it was delivered, when it is due again, or why it was given up.

A crash between steps 3 and 4 repeats the message with the same key.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import Final

from connectors.errors import ConnectorError, UnavailableError
from connectors.notify.outcome import Delivered, Outcome, Refused, TryAgain
from connectors.postgres_pool import PostgresPool
from streams.alerts.delivery import outbox
from streams.alerts.delivery.channels import Channel
from streams.alerts.delivery.metrics import TOPIC, DeliveryMetrics
from streams.alerts.delivery.retries import RateLimit, Retries
from streams.alerts.delivery.senders import Sender, sender_of
from streams.alerts.delivery.texts import message_of
from streams.alerts.delivery.topic import AlertTopic
from streams.alerts.explanation.explain import Explainer
from streams.alerts.storage.store import alerts_connection, explain, read_deliveries, read_incident
from streams.alerts.storage.stored import TOPIC_CHANNEL, Delivery, Incident
from streams.charts.alert_chart import alert_chart
from streams.charts.render import render
from streams.process.waiting import first_of
from streams.records import AlertRecord, RecordError

logger = logging.getLogger(__name__)

_UNKNOWN: Final = "the channels file has no such channel"


@dataclass(frozen=True)
class Pace:
    """How often the outbox is looked at.

    Attributes:
        poll_s: seconds between two looks at an outbox in which nothing is due.
        lease_s: seconds of a claim; None for as long as an explanation and a try of the channel may take.
        retries: when a message is sent again.
    """

    poll_s: float = 1.0
    lease_s: float | None = None
    retries: Retries = field(default_factory=Retries)


@dataclass(frozen=True)
class _Place:
    """A channel, or the topic: its name, how it is told, and how fast."""

    name: str
    sender: Sender | None
    has_picture: bool
    lease_s: float
    retries: Retries
    limit: RateLimit
    due: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def label(self) -> str:
        return self.name or TOPIC


class Deliverer:
    """Delivers what the outbox holds. Several processes may deliver at the same time."""

    def __init__(
        self,
        pool: PostgresPool,
        channels: Mapping[str, Channel],
        *,
        topic: AlertTopic,
        explainer: Explainer,
        metrics: DeliveryMetrics,
        public_url: str | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Prepare to deliver.

        Args:
            pool: connections to Postgres.
            channels: the channels by name. `streams.redact` must know their secrets.
            topic: the topic of alerts.
            explainer: finds the words and posts of an incident.
            metrics: the metrics.
            public_url: the address of the HTTP service for people; None for no links.
            pace: how often the outbox is looked at.
        """
        self._pool = pool
        self._topic = topic
        self._explainer = explainer
        self._metrics = metrics
        self._public_url = public_url
        self._pace = pace or Pace()
        self._explaining: dict[str, asyncio.Task[Incident | None]] = {}
        lease_s = self._pace.lease_s
        # The topic must have each event: a day without brokers is no reason to leave one out.
        endless = Retries(self._pace.retries.first_s, self._pace.retries.most_s, give_up_s=inf)
        self._places = [_Place(TOPIC_CHANNEL, None, False, lease_s or 120.0, endless, RateLimit(1_000_000))]
        for name, channel in channels.items():
            self._places.append(
                _Place(
                    name,
                    sender_of(channel),
                    getattr(channel, "picture", False),
                    lease_s or 60.0 + 5.0 * channel.timeout_s,
                    self._pace.retries,
                    RateLimit(channel.per_minute),
                )
            )

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, and then finish the messages that are being sent.

        Raises:
            RejectedError: Postgres refuses a statement, or has no tables of alerts.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(stop))
                for place in self._places:
                    group.create_task(self._serve(place, stop))
        finally:
            for task in [*self._explaining.values()]:
                task.cancel()

    async def _watch(self, stop: asyncio.Event) -> None:
        """Wake the channels for which a message is due, and give up those of channels that the file does not name."""
        places = {place.name: place for place in self._places}
        failing = False
        while not stop.is_set():
            try:
                async with alerts_connection(self._pool, "looking for messages of incidents") as connection:
                    due = await outbox.due_channels(connection)
                    gone = await outbox.fail_others(connection, [*places], _UNKNOWN) if due - places.keys() else []
                failing = False
            except UnavailableError as exc:
                if not failing:
                    self._metrics.outages.inc()
                    logger.warning("nobody is told of incidents now: %s", exc)
                due, gone, failing = set(), [], True
            for channel in gone:
                self._metrics.deliveries.labels(channel, "unknown").inc()
                logger.error("%s is not told of an incident: %s", channel, _UNKNOWN)
            for channel in due & places.keys():
                places[channel].due.set()
            await first_of(stop, timeout_s=self._pace.poll_s)
        for place in self._places:
            place.due.set()

    async def _serve(self, place: _Place, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await place.due.wait()
            try:
                if not await self._next(place, stop):
                    place.due.clear()
            except UnavailableError as exc:
                # The lease of what was claimed ends, and the watch wakes the channel again.
                logger.debug("%s has to wait: %s", place.label, exc)
                place.due.clear()

    async def _next(self, place: _Place, stop: asyncio.Event) -> bool:
        """Make the next try that is due, in the steps of the module's docstring. Returns whether there was one."""
        while (wait_s := place.limit.wait_s(time.monotonic())) > 0 and not stop.is_set():
            await first_of(stop, timeout_s=wait_s)
        if stop.is_set():
            return False
        # 1. Claim it.
        async with alerts_connection(self._pool, "claiming a message of an incident") as connection:
            claimed = await outbox.claim(connection, place.name, limit=1, lease_s=place.lease_s)
        if not claimed:
            return False
        [delivery] = claimed
        place.limit.count(time.monotonic())
        started = time.monotonic()
        # 2. Explain the incident. 3. Send the message.
        try:
            outcome = await self._send(place, delivery)
        except ConnectorError:
            raise
        except Exception as exc:
            # A message that cannot be written must not end the evaluation, and the messages of other incidents.
            logger.exception("%s cannot be told of the incident %s", place.label, delivery.incident)
            outcome = TryAgain(f"a defect of emostream: {type(exc).__name__}; the log has its stack trace")
        self._metrics.seconds.labels(place.label).observe(time.monotonic() - started)
        # 4. Record how the try ended.
        await self._record(place, delivery, outcome, until=started + place.lease_s)
        return True

    async def _send(self, place: _Place, delivery: Delivery) -> Outcome:
        try:
            incident = await self._explained(delivery.incident)
            async with alerts_connection(self._pool, "reading who is told of an incident") as connection:
                told = {each.channel for each in await read_deliveries(connection, delivery.incident)}
        except RecordError as exc:
            return Refused(f"the stored reason of the incident cannot be read: {exc}")
        except UnavailableError as exc:
            return TryAgain(str(exc))
        if incident is None:
            return Refused("the incident was removed")
        channels = tuple(sorted(told - {TOPIC_CHANNEL}))
        record = incident.record(delivery.event, at=delivery.created_at, channels=channels)
        if place.sender is None:
            return await self._topic.send(record)
        picture = await asyncio.to_thread(_picture, record) if place.has_picture else None
        return await place.sender.send(message_of(record, public_url=self._public_url, picture=picture))

    async def _explained(self, incident: str) -> Incident | None:
        """Returns the incident with its words and posts. Channels that need them at the same time share the search."""
        task = self._explaining.get(incident)
        if task is None:
            task = self._explaining[incident] = asyncio.create_task(self._explain(incident))
            task.add_done_callback(lambda _: self._explaining.pop(incident, None))
        return await asyncio.shield(task)

    async def _explain(self, incident: str) -> Incident | None:
        async with alerts_connection(self._pool, "reading an incident") as connection:
            found = await read_incident(connection, incident)
        if found is None or found.explained_at is not None:
            return found
        explanation = await self._explainer.explain(found)
        reason = explanation.reason
        result = "none" if not (reason.words or reason.examples) else "complete" if reason.note is None else "noted"
        self._metrics.explanations.labels(result).inc()
        async with alerts_connection(self._pool, "storing the reason of an incident") as connection:
            return await explain(connection, incident, explanation)

    async def _record(self, place: _Place, delivery: Delivery, outcome: Outcome, *, until: float) -> None:
        """Record the outcome. While Postgres does not answer, try again up to the end of the lease.

        Raises:
            UnavailableError: The lease has ended. The message will be sent again.
        """
        while True:
            try:
                return await self._record_once(place, delivery, outcome)
            except UnavailableError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(min(1.0, self._pace.poll_s))

    async def _record_once(self, place: _Place, delivery: Delivery, outcome: Outcome) -> None:
        what = f"the {'start' if delivery.event == 'opened' else 'end'} of the incident {delivery.incident}"
        async with alerts_connection(self._pool, "recording a message of an incident") as connection:
            if isinstance(outcome, Delivered):
                await outbox.delivered(connection, delivery)
                self._count(place, "delivered")
                logger.info("%s was told of %s (try %d)", place.label, what, delivery.attempts)
                return
            asked_s = outcome.after_s if isinstance(outcome, TryAgain) else None
            # Postgres set both times, so its clock alone decides.
            age_s = (delivery.due_at - timedelta(seconds=place.lease_s) - delivery.created_at).total_seconds()
            wait_s = place.retries.wait_s(delivery.attempts, age_s, asked_s, random.random())  # noqa: S311 - no secret
            if isinstance(outcome, TryAgain) and wait_s is not None:
                await outbox.retry(connection, delivery, outcome.reason, wait_s)
                self._count(place, "retried")
                log = logger.warning if delivery.attempts == 1 else logger.info
                log("%s is told of %s again in %.0f s: %s", place.label, what, wait_s, outcome.reason)
                return
            await outbox.failed(connection, delivery, outcome.reason)
            self._count(place, "refused" if isinstance(outcome, Refused) else "expired")
            tries = delivery.attempts
            logger.error("%s is not told of %s, after %d tries: %s", place.label, what, tries, outcome.reason)

    def _count(self, place: _Place, result: str) -> None:
        self._metrics.deliveries.labels(place.label, result).inc()


def _picture(record: AlertRecord) -> bytes:
    return render(alert_chart(record), "png")
