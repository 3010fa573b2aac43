"""Checks each part that the service needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api.models.health import Readiness, ReadinessPart
from api.resources import Resources
from connectors.errors import ConnectorError, UnavailableError
from streams.redact import redact

CHECK_S = 2.0
"""Seconds that a server has to answer a check."""


@dataclass(frozen=True)
class Check:
    """The check of one part.

    Attributes:
        name: the part.
        required: whether the service is not ready without it.
        run: raises a `ConnectorError` if the part does not work.
    """

    name: str
    required: bool
    run: Callable[[], Awaitable[object]]


def checks(resources: Resources) -> list[Check]:
    """Returns the checks of all parts."""
    fetch = resources.fetch
    return [
        Check("model", True, lambda: _model(resources)),
        Check("access", True, resources.access.check),
        Check("redis", False, resources.windows.refresh),
        Check("postgres", False, lambda: _postgres(resources)),
        *([] if fetch is None else [Check("fetch", False, fetch.check)]),
        Check("kafka", False, lambda: _kafka(resources)),
        Check("live streams", False, lambda: _live(resources)),
        Check("model store", False, lambda: _model_store(resources)),
    ]


async def readiness(resources: Resources) -> Readiness:
    """Check all parts at the same time."""
    if resources.stop.is_set():
        stopping = ReadinessPart(name="process", ok=False, required=True, reason="the process stops")
        return Readiness(status="not ready", parts=[stopping])
    parts = list(await asyncio.gather(*map(_checked, checks(resources))))
    failed = [part for part in parts if not part.ok]
    if any(part.required for part in failed):
        return Readiness(status="not ready", parts=parts)
    return Readiness(status="degraded" if failed else "ready", parts=parts)


async def _model(resources: Resources) -> None:
    if resources.serving.problem is not None:
        raise UnavailableError(f"the model may be outdated: {resources.serving.problem}")


async def _postgres(resources: Resources) -> None:
    async with resources.postgres.connection("checking the history") as connection:
        await connection.execute("SELECT 1")


async def _kafka(resources: Resources) -> None:
    """Live streams have nothing new without Kafka."""
    await asyncio.to_thread(resources.kafka.topic_ids, [resources.settings.topic_windows])


async def _live(resources: Resources) -> None:
    """A feed that fails begins again by itself; meanwhile its clients have nothing new."""
    if resources.live.problem is not None:
        raise UnavailableError(resources.live.problem)


async def _model_store(resources: Resources) -> None:
    found = resources.metrics.registry.restricted_registry(["emostream_model_from_cache"]).collect()
    if any(sample.value for metric in found for sample in metric.samples):
        raise UnavailableError("the channel could not be read at the start, so the last good model of the cache serves")


async def _checked(check: Check) -> ReadinessPart:
    reason = None
    try:
        async with asyncio.timeout(CHECK_S):
            await check.run()
    except TimeoutError:
        reason = f"it did not answer within {CHECK_S:g} s"
    except ConnectorError as exc:
        reason = redact(str(exc))
    return ReadinessPart(name=check.name, ok=reason is None, required=check.required, reason=reason)
