"""The course of an incident comes from the window tables: its windows, those before, and gaps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from connectors.redis import connect
from streams.alerts.explanation.course import BEFORE, CourseExplainer
from streams.alerts.storage.stored import Explanation, Incident
from streams.query.windows import KeywordWindows
from streams.records import from_ms
from streams.settings import Settings
from streams.windows.connect import table_arguments
from streams.windows.store import WindowStore
from tests.integration.answer_support import START, count, post
from tests.integration.test_alert_explanations import incident

MINUTE = 60_000


class Words:
    """Stands for the explainer of words and posts, which the course leaves as they are."""

    async def explain(self, incident: Incident) -> Explanation:
        return Explanation(replace(incident.reason, note="No words."))


def at(minute: int, **changes: object) -> Incident:
    """Returns an incident of two minutes that begins a number of minutes after the first post."""
    return incident(
        began=from_ms(START + minute * MINUTE), decided=from_ms(START + (minute + 2) * MINUTE), size=60, **changes
    )


@asynccontextmanager
async def explainer(settings: Settings) -> AsyncIterator[CourseExplainer]:
    """An explainer over tables with posts about coffee in minutes 0, 1 and 3, and about tea in minutes 2 and 3."""
    moments = [(0, "joy"), (1, "joy"), (1, "anger"), (3, "anger"), (3, "anger"), (3, "joy")]
    posts = [post(n, START + minute * MINUTE, "coffee", label=label) for n, (minute, label) in enumerate(moments[:3])]
    posts += [post(3, START + 2 * MINUTE, "tea")]
    posts += [post(n + 4, START + 3 * MINUTE + n, "coffee", label=label) for n, (_, label) in enumerate(moments[3:])]
    posts += [post(7, START + 3 * MINUTE + 9, "tea")]
    async with connect(settings.redis_url.get_secret_value()) as client:
        await count(WindowStore(client, **table_arguments(settings)), settings, posts)
        yield CourseExplainer(Words(), KeywordWindows(client, **table_arguments(settings)))


async def test_a_share_has_its_values_and_gaps(settings: Settings) -> None:
    async with explainer(settings) as found:
        reason = (await found.explain(at(2, reason=replace(at(2).reason, usual=20.0)))).reason
    minutes = [round((point.start.ms - START) / MINUTE) for point in reason.points]
    assert minutes == [0, 1, 2, 3]  # what lies before the first window is left out
    assert [(one.posts, one.value) for one in reason.points] == [(1, 0.0), (2, 50.0), (0, None), (3, 200 / 3)]
    assert {one.usual for one in reason.points} == {20.0}
    assert reason.note == "No words."


async def test_a_window_without_posts_is_a_volume_of_0_if_others_have_posts(settings: Settings) -> None:
    async with explainer(settings) as found:
        reason = (await found.explain(at(2, measure="volume", label=None))).reason
        everyone = (await found.explain(at(2, measure="volume", label=None, keyword="*"))).reason
        later = (await found.explain(at(3 + BEFORE, measure="volume", label=None))).reason
    assert [one.value for one in reason.points] == [1, 2, 0, 3]
    assert [one.value for one in everyone.points] == [1, 2, 1, 4]
    # The first window of the course is the last one with posts; the system counted nothing afterwards.
    assert [one.value for one in later.points] == [3] + [None] * (BEFORE + 1)


async def test_without_redis_the_reason_says_so(settings: Settings) -> None:
    async with connect("redis://127.0.0.1:9/0") as client:
        found = CourseExplainer(Words(), KeywordWindows(client, **table_arguments(settings)))
        reason = (await found.explain(at(2))).reason
    assert reason.points == at(2).reason.points  # none were read
    assert reason.note is not None
    assert reason.note.startswith("No words. The course is missing: ")
