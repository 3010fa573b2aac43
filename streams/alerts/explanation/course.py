"""Reads the course of an incident: the values of its windows and of those before, for its chart.

The window tables hold them for as long as windows of their size are kept.
"""

from __future__ import annotations

import logging
from typing import Final

from msgspec.structs import replace as changed

from connectors.errors import ConnectorError
from streams.alerts.engine.measure import Reading, measured
from streams.alerts.explanation.explain import Explainer, measure_of
from streams.alerts.rules.rule import Volume
from streams.alerts.storage.stored import Explanation, Incident
from streams.query.windows import KeywordWindows
from streams.records import ALL_KEYWORDS, AlertPoint, from_ms, to_ms
from streams.redact import redact
from streams.windows.codec import to_window

logger = logging.getLogger(__name__)

BEFORE: Final = 36
"""The windows before an incident that belong to its course."""

MOST_POINTS: Final = 72
"""The most windows of a course. If an incident was certain only after more of them, the latest are kept."""


class CourseExplainer:
    """Adds the course to what another explainer finds."""

    def __init__(self, explainer: Explainer, windows: KeywordWindows) -> None:
        """Read with `windows`, whose client somebody else closes."""
        self._explainer = explainer
        self._windows = windows

    async def explain(self, incident: Incident) -> Explanation:
        """See `Explainer.explain`."""
        found = await self._explainer.explain(incident)
        try:
            points = await self._points(incident) or found.reason.points
            return found._replace(reason=changed(found.reason, points=points))
        except ConnectorError as exc:
            problem = redact(str(exc))
        logger.warning("the course of the incident %s is missing: %s", incident.incident, problem)
        note = f"{found.reason.note or ''} The course is missing: {problem}.".strip()
        return found._replace(reason=changed(found.reason, note=note))

    async def _points(self, incident: Incident) -> tuple[AlertPoint, ...]:
        step = incident.size * 1_000
        end = to_ms(incident.decided)
        first = max(to_ms(incident.began) - BEFORE * step, end - MOST_POINTS * step)
        starts = range(first, end, step)
        own = await self._readings(incident.keyword, incident.size, starts)
        # A window that does not exist has no posts if others have some. Otherwise it is no data.
        others = own if incident.keyword == ALL_KEYWORDS else await self._readings(ALL_KEYWORDS, incident.size, starts)
        measure = measure_of(incident)
        points = []
        for start in starts:
            reading = own.get(start)
            if reading is None and isinstance(measure, Volume) and start in others:
                reading = Reading.silent(incident.keyword, incident.size, start)
            found = None if reading is None else measured(measure, reading)
            points.append(
                AlertPoint(
                    from_ms(start),
                    0 if found is None else found.whole,
                    None if found is None else found.value,
                    incident.reason.usual,
                )
            )
        known = next((n for n, point in enumerate(points) if point.value is not None), len(points))
        return tuple(points[known:])

    async def _readings(self, keyword: str, size: int, starts: range) -> dict[int, Reading]:
        if size not in self._windows.sizes:
            return {}
        found = await self._windows.at_starts(keyword, size, starts)
        return {key.start: Reading.of_window(to_window(key, row)) for key, row in found.rows}
