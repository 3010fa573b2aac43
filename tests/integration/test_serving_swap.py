"""Concurrent callers are classified while the model is replaced, with a real S3 server."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from models.registry.publish import publish
from streams.classification.predictions import Prediction
from streams.classification.serving import Serving
from tests.integration.registry_support import URI
from tests.integration.watch_support import (  # noqa: F401 - fixtures
    first_fixture,
    package_fixture,
    settings_fixture,
)


async def test_a_version_takes_over_between_two_runs(s3, first, package, settings):
    registry = CollectorRegistry()
    one = Serving(settings.model_copy(update={"model_poll_s": 0.01, "model_threads": 2}), registry)
    await one.start()
    versions: list[set[str]] = []
    changed = asyncio.Event()

    async def caller() -> None:
        while not changed.is_set():
            answers = await one.classify(["hello good"] * 3, [None] * 3)
            assert all(isinstance(answer.found, Prediction) for answer in answers)
            versions.append({answer.found.model.version for answer in answers})
            if versions[-1] == {"2.0.0"}:
                changed.set()

    try:
        callers = [asyncio.create_task(caller()) for _ in range(8)]
        while not versions:  # noqa: ASYNC110 - the callers run meanwhile
            await asyncio.sleep(0)
        await asyncio.to_thread(publish, package("2.0.0"), URI, s3)
        async with asyncio.timeout(60):
            await asyncio.gather(*callers)
    finally:
        await one.close(10)
    assert versions[0] == {"1.0.0"}
    assert {"2.0.0"} in versions
    # A request may be in two runs, and so have two versions, but never another one.
    assert set().union(*versions) == {"1.0.0", "2.0.0"}
    assert registry.get_sample_value("emostream_inference_failures_total") == 0
    assert registry.get_sample_value("emostream_model_swaps_total", {"languages": "*"}) == 1
    assert one.problem is None


async def test_the_last_good_model_serves_while_s3_is_away(own_s3, s3, first, settings):
    first_start = Serving(settings, CollectorRegistry())
    await first_start.start()
    await first_start.close(10)
    own_s3.stop()
    registry = CollectorRegistry()
    one = Serving(settings, registry)
    await one.start()
    try:
        assert len(await one.classify(["hello good"], [None])) == 1
    finally:
        await one.close(10)
    assert registry.get_sample_value("emostream_model_from_cache", {"languages": "*"}) == 1
