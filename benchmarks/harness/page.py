"""Measures a page in Chromium: when it shows something, when posts appear, its memory, and its frames.

The page tells by itself: a script that runs before its own ones notes what appears, and the test reads the notes.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from playwright.async_api import Browser, CDPSession, Page

from tests.browser.waiting import until_true

FIRST_VIEW = ".chart canvas, .chart .nothing"
"""What the first view shows: a chart, or the sentence that stands in place of one without data."""

POST_ID = "data-post-id"
"""The attribute that names the post of an item of the feed."""

# A post is counted as visible after the frame that has it: the message is handled after the frame was painted.
_OBSERVE = """
(() => {
  const seen = (window.__seen = new Map());
  let waiting = [];
  const note = (element) => {
    const id = element.getAttribute?.('ATTRIBUTE');
    if (id && !seen.has(id)) { seen.set(id, 0); waiting.push(id); }
    for (const inner of element.querySelectorAll?.('[ATTRIBUTE]') ?? []) note(inner);
  };
  const painted = new MessageChannel();
  painted.port1.onmessage = (event) => { for (const id of event.data) seen.set(id, Date.now()); };
  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === 'attributes') note(change.target);
      for (const node of change.addedNodes) note(node);
    }
    if (!waiting.length) return;
    const batch = waiting;
    waiting = [];
    requestAnimationFrame(() => painted.port2.postMessage(batch));
  }).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ['ATTRIBUTE']});
})();
""".replace("ATTRIBUTE", POST_ID)

# Looks at every frame whether the first view is there.
_FIRST_VIEW = """
(() => {
  const look = () => {
    if (document.querySelector(SELECTOR)) window.__firstView = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
""".replace("SELECTOR", repr(FIRST_VIEW))

# Forgets the posts that are told and no longer in the page, so that the notes do not grow.
_TAKE = """() => {
  const found = [];
  const there = new Set([...document.querySelectorAll('[ATTRIBUTE]')].map((one) => one.getAttribute('ATTRIBUTE')));
  for (const [id, at] of window.__seen) {
    if (at > 0) { found.push([id, at]); window.__seen.set(id, -1); }
    if (at && !there.has(id)) window.__seen.delete(id);
  }
  return found;
}""".replace("ATTRIBUTE", POST_ID)

# Scrolls to and fro, a step each frame, and notes when the frames come.
_SCROLL = """async ([seconds, selector]) => {
  let box = document.querySelector(selector);
  while (box && !(box.scrollHeight > box.clientHeight + 50 && /auto|scroll/.test(getComputedStyle(box).overflowY)))
    box = box.parentElement;
  box ??= document.scrollingElement;
  const times = [];
  await new Promise((done) => {
    const begin = performance.now();
    let step = 12;
    const frame = (now) => {
      times.push(now);
      const before = box.scrollTop;
      box.scrollTop += step;
      if (box.scrollTop === before) step = -step;
      if (now - begin < seconds * 1000) requestAnimationFrame(frame); else done();
    };
    requestAnimationFrame(frame);
  });
  return {times, height: box.scrollHeight - box.clientHeight};
}"""


@dataclass(frozen=True)
class FirstView:
    """When a new visitor sees something, in milliseconds since the navigation began.

    Attributes:
        painted_ms: the first text or picture.
        complete_ms: the first chart, or the sentence in place of one.
        bytes: bytes that came over the network, with headers.
    """

    painted_ms: float
    complete_ms: float
    bytes: int


@dataclass(frozen=True)
class Memory:
    """The memory of a page after a collection of garbage."""

    at_s: float
    heap_mb: float
    nodes: int
    listeners: int


@dataclass(frozen=True)
class Frames:
    """The frames while a page is scrolled.

    Attributes:
        count: frames.
        p50_ms: median of the time between two.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        worst_ms: the longest.
        late: share of those that came more than half a frame late (25 ms and more after the one before), 0 to 1.
        scrolled_px: how far the page could be scrolled.
    """

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    worst_ms: float
    late: float
    scrolled_px: int


async def first_view(browser: Browser, url: str) -> FirstView:
    """Open a page as a new visitor, whose cache is empty."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        received: list[int] = []
        session.on("Network.loadingFinished", lambda event: received.append(int(event["encodedDataLength"])))
        await session.send("Network.enable")
        await page.add_init_script(_FIRST_VIEW)
        await page.goto(url)
        await until_true(page, "window.__firstView !== undefined")
        painted: float = await page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
        )
        complete: float = await page.evaluate("window.__firstView")
        return FirstView(painted, complete, sum(received))
    finally:
        await context.close()


class WatchedPage:
    """A page whose posts, memory and frames are measured."""

    def __init__(self, page: Page, session: CDPSession) -> None:
        """Use a page that `open_watched` has made."""
        self.page = page
        self._session = session

    async def posts(self) -> dict[str, float]:
        """Returns the posts that have appeared since the last call: when, in seconds since 1970, by their ids."""
        found: list[tuple[str, float]] = await self.page.evaluate(_TAKE)
        return {id_: at / 1_000 for id_, at in found}

    async def memory(self, at_s: float) -> Memory:
        """Collect garbage, and return what is left."""
        await self._session.send("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in (await self._session.send("Performance.getMetrics"))["metrics"]}
        return Memory(
            round(at_s, 1),
            round(metrics["JSHeapUsedSize"] / 2**20, 2),
            int(metrics["Nodes"]),
            int(metrics["JSEventListeners"]),
        )

    async def scroll(self, seconds: float) -> Frames:
        """Scroll the feed, and return how its frames came."""
        found: dict[str, Any] = await self.page.evaluate(_SCROLL, [seconds, f"[{POST_ID}]"])
        return frames_of(found["times"], int(found["height"]))


def frames_of(times: Sequence[float], height: int) -> Frames:
    """Returns the figures of frames that began at these times, in milliseconds. There must be three or more."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    cuts = statistics.quantiles(gaps, n=100)
    return Frames(
        len(times),
        round(cuts[49], 2),
        round(cuts[94], 2),
        round(cuts[98], 2),
        round(max(gaps), 2),
        round(sum(gap >= 25 for gap in gaps) / len(gaps), 4),
        height,
    )


def growth_per_hour(memory: Iterable[Memory]) -> float:
    """Returns how many megabytes the heap grows in an hour, by the line of least squares; nan for fewer than two."""
    points = [(one.at_s, one.heap_mb) for one in memory]
    if len({at for at, _ in points}) < 2:
        return float("nan")
    slope, _ = statistics.linear_regression(*zip(*points, strict=True))
    return round(slope * 3_600, 2)


async def open_watched(browser: Browser, url: str) -> WatchedPage:
    """Open a page, and begin to watch it. It is ready when its feed has the first post."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Performance.enable")
    await session.send("HeapProfiler.enable")
    await page.add_init_script(_OBSERVE)
    await page.goto(url)
    return WatchedPage(page, session)


async def wait_for_post(watched: WatchedPage, timeout_s: float) -> None:
    """Wait until the feed has a post.

    Raises:
        TimeoutError: It has none in time.
    """
    async with asyncio.timeout(timeout_s):
        await watched.page.wait_for_selector(f"[{POST_ID}]", state="attached", timeout=timeout_s * 1_000)
