"""The views of now, of the keywords and of their comparison, with posts that flow through the whole application."""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import AsyncIterator
from io import StringIO
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Download, Locator, Page, Route, expect

from tests.browser.axe import assert_no_barriers
from tests.browser.conftest import TIMEOUT_MS, OpenPage
from tests.browser.live_system import LiveSystem
from tests.browser.waiting import until_true
from tests.integration.support import KEYWORDS, TEXTS, post

expect.set_options(timeout=TIMEOUT_MS)

MOST_ROWS = 100


@pytest_asyncio.fixture(loop_scope="session")
async def now(stack_api: LiveSystem, open_page: OpenPage) -> AsyncIterator[Page]:
    """The view of now, as soon as it has a post."""
    page = await open_page(f"{stack_api.address}/")
    await page.locator(".post").first.wait_for()
    # What is out of sight is not laid out, and has no text that could be seen.
    await page.locator(".feed").scroll_into_view_if_needed()
    yield page


async def ids(page: Page) -> list[str]:
    """Returns the ids of the posts in the feed."""
    found: list[str] = await page.locator(".post").evaluate_all("all => all.map(one => one.dataset.postId)")
    return found


async def waits(page: Page, least: int) -> None:
    """Wait until so many posts wait for the feed."""
    await until_true(
        page, "least => Number(document.querySelector('.waiting-posts')?.dataset.waits) >= least", arg=least
    )


def parameters(page: Page) -> dict[str, list[str]]:
    """Returns the parameters of a page's address."""
    return parse_qs(urlsplit(page.url).query)


async def rows_of(page: Page, button: Locator) -> list[dict[str, str]]:
    """Returns the rows of the CSV file that a button saves."""
    return list(csv.DictReader(StringIO((await file_of(page, button)).decode("utf-8-sig"))))


async def file_of(page: Page, button: Locator) -> bytes:
    """Returns the file that a button saves."""
    async with page.expect_download() as found:
        await button.click()
    saved: Download = await found.value
    return await asyncio.to_thread((await saved.path()).read_bytes)


def figure(page: Page, name: str) -> Locator:
    """Returns a figure of the system with its explanation."""
    return page.locator(".figures dl > div").filter(has=page.get_by_role("button", name=f"What is {name}?"))


async def test_a_post_appears_in_the_feed_and_in_the_figures(stack_api: LiveSystem, now: Page) -> None:
    # The feed keeps the last hundred posts, and others would soon take the place of these.
    await now.get_by_label("Only posts with a keyword that contains").fill("zebra")
    stack_api.produce(
        [
            post(TEXTS[0], id="with-link", keywords=["zebra", "<i>"], source="zoo", url="https://example.org/1"),
            post(TEXTS[0], id="with-script", keywords=["zebra"], url="javascript:alert(1)"),
            b"no post",
        ]
    )
    row = now.locator('[data-post-id="with-link"]')
    for text in ("Joy", "positive", "zebra", "<i>", "zoo", TEXTS[0]):
        await expect(row).to_contain_text(text)
    await expect(row).to_contain_text(re.compile(r"\d %"))
    await expect(row).to_contain_text(re.compile(r"[+]0\.\d\d"))
    assert await row.locator(".swatch").count() == 2
    link = row.locator('a[target="_blank"]')
    assert await link.get_attribute("href") == "https://example.org/1"
    assert await link.get_attribute("rel") == "noopener noreferrer nofollow"
    await expect(now.locator('[data-post-id="with-script"]')).to_be_visible()
    assert await now.locator('[data-post-id="with-script"] a[target="_blank"]').count() == 0

    await expect(figure(now, "Dead letters").locator(".value")).to_have_text("1")
    await expect(figure(now, "Posts a second").locator(".value")).to_have_text(re.compile(r"^[1-9]\d*\.\d$"))
    await expect(figure(now, "Post to pixel").locator(".value")).to_have_text(re.compile(r"^\d+(\.\d\d)?$"))
    await expect(figure(now, "Consumer lag").locator(".value")).to_have_text(re.compile(r"^[\d,]+$"))
    await expect(figure(now, "Model")).to_contain_text("emotion-minilm-l4")
    await expect(figure(now, "Gate to Postgres")).to_contain_text("Open")
    await now.get_by_role("button", name="What is Consumer lag?").click()
    await expect(now.get_by_text("How many posts wait in Kafka")).to_be_visible()

    # The tier comes with the live post. A keyword of the feed opens its view, where the windows have the posts, too.
    await expect(row.locator(".origin")).to_contain_text(re.compile("convolution|transformer"))
    await row.get_by_role("link", name="zebra").click()
    await expect(now.locator(".headline")).to_contain_text("of 2 posts")
    assert parameters(now)["keyword"] == ["zebra"]


async def test_the_feed_can_be_paused_and_waits_while_somebody_reads(stack_api: LiveSystem, now: Page) -> None:
    await now.get_by_role("button", name="Pause").click()
    await waits(now, 1)
    shown = await ids(now)
    await waits(now, 5)
    assert await ids(now) == shown
    await now.locator(".waiting-posts button").click()
    await until_true(now, "id => document.querySelector('.post').dataset.postId !== id", arg=shown[0])
    await expect(now.locator(".waiting-posts")).to_have_count(0)

    await now.locator(".posts").evaluate("list => { list.scrollTop = 120; }")
    await waits(now, 1)
    shown = await ids(now)
    await waits(now, 5)
    assert await ids(now) == shown
    assert len(shown) <= MOST_ROWS
    assert await now.locator(".posts").evaluate("list => list.scrollTop") == 120
    await now.locator(".posts").evaluate("list => { list.scrollTop = 0; }")
    await until_true(now, "id => document.querySelector('.post').dataset.postId !== id", arg=shown[0])


async def test_an_address_has_the_filters_of_the_feed(stack_api: LiveSystem, now: Page, open_page: OpenPage) -> None:
    await now.get_by_label("Emotion", exact=True).select_option("sadness")
    await now.get_by_label("Only posts with a keyword that contains").fill("COF")
    assert parameters(now) == {"label": ["sadness"], "filter": ["COF"]}
    other = await open_page(now.url)
    for page in (now, other):
        await page.locator(".post").nth(1).wait_for()
        assert await page.get_by_label("Emotion", exact=True).input_value() == "sadness"
        for row in await page.locator(".post").all_text_contents():
            assert "Sadness" in row
            assert "coffee" in row


async def test_what_is_unknown_says_why_and_is_no_zero(stack_api: LiveSystem, open_page: OpenPage) -> None:
    async def without_servers(route: Route) -> None:
        status = await (await route.fetch()).json()
        for part in ("posts", "lag", "sink", "gate", "dead"):
            status[part] = dict.fromkeys(status[part]) | {"problem": f"no server of {part}", "over_s": 10}
        await route.fulfill(json={**status, "models": []})

    page = await open_page()
    await page.route("**/v1/status", without_servers)
    await page.goto(f"{stack_api.address}/?until=2026-01-01T00:00:00Z")
    for name, reason in (
        ("Posts a second", "no server of posts"),
        ("Post to pixel", "the view stands at a fixed time"),
        ("Consumer lag", "no server of lag"),
        ("Gate to Postgres", "no server of gate"),
        ("Model", "no model serves"),
        ("Dead letters", "no server of dead"),
    ):
        await expect(figure(page, name)).to_contain_text(f"unknown: {reason}")
        assert await figure(page, name).locator(".value").count() == 0
    await expect(page.locator(".posts")).to_contain_text("There are no stored posts.")


async def test_keywords_are_found_sorted_opened_and_picked(stack_api: LiveSystem, open_page: OpenPage) -> None:
    page = await open_page(f"{stack_api.address}/keywords")
    table = page.get_by_role("table", name="Most frequent keywords")
    names = table.locator("tbody th")
    for keyword in KEYWORDS:
        await expect(table.get_by_role("link", name=keyword, exact=True)).to_be_visible()
    await table.get_by_role("button", name="Keyword").click()
    found = await names.all_inner_texts()
    assert found == sorted(found)
    assert parameters(page) == {"sort": ["keyword"], "way": ["up"]}

    search = page.get_by_label("Search keywords")
    await search.fill("offe")
    await expect(names).to_have_text(["coffee"])
    await table.get_by_label("Compare coffee").check()
    await search.fill("")
    await table.get_by_label("Compare rain").check()
    await page.get_by_role("link", name="Compare", exact=True).last.click()
    await expect(page.locator(".multiple h2")).to_have_text(["coffee", "rain"])
    assert parameters(page) == {"keyword": ["coffee", "rain"]}

    await page.goto(f"{stack_api.address}/keywords")
    await search.press_sequentially("كلمة & more")
    await search.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("كلمة & more")
    assert parameters(page) == {"keyword": ["كلمة & more"]}


async def test_a_comparison_has_the_windows_of_the_service(stack_api: LiveSystem, open_page: OpenPage) -> None:
    page = await open_page(f"{stack_api.address}/compare?keyword=coffee&span=15m")
    field = page.get_by_label("Add a keyword")
    await field.fill("rain")
    await field.press("Enter")
    await field.fill("exam")
    await field.press("Enter")
    await page.get_by_role("button", name="Remove exam").click()
    await expect(page.locator(".multiple h2")).to_have_text(["coffee", "rain"])
    await page.locator(".segments label", has_text="Sentiment").click()
    await page.get_by_role("button", name="Freeze").click()
    assert parameters(page).keys() == {"keyword", "span", "measure", "until"}

    # An address shows the same to everybody, also the file. The newest window still grows.
    other = await open_page(page.url)
    await expect(other.locator('.multiple .canvas[data-ready="true"]')).to_have_count(2)
    rows = await rows_of(other, other.get_by_role("button", name="CSV of all"))
    assert [row["keyword"] for row in rows] == ["coffee"] * (len(rows) // 2) + ["rain"] * (len(rows) // 2)
    newest = max(row["start"] for row in rows)
    async with httpx.AsyncClient(base_url=stack_api.address) as client:
        for keyword in ("coffee", "rain"):
            answer = await client.get(f"/v1/windows/{keyword}", params={"size": 60, "limit": 1000})
            windows = {one["start"].replace(".000Z", "Z"): one for one in answer.json()["windows"]}
            own = {row["start"]: row for row in rows if row["keyword"] == keyword}
            assert any(row["posts"] for row in own.values())
            for start in own.keys() - {newest}:
                window = windows.get(start)
                assert own[start]["posts"] == ("" if window is None else str(window["count"]))
                if window is not None and window["sentiment"] is not None:
                    assert own[start]["joy"] == str(window["labels"].get("joy", {"count": 0})["count"])
                    assert float(own[start]["mean sentiment"]) == window["sentiment"]["mean_sentiment"]

    one = other.locator(".multiple").first
    own_rows = await rows_of(other, one.get_by_role("button", name="CSV"))
    assert [row for row in own_rows if row["start"] != newest] == [
        {name: value for name, value in row.items() if name != "keyword"}
        for row in rows
        if row["keyword"] == "coffee" and row["start"] != newest
    ]
    assert (await file_of(other, one.get_by_role("button", name="PNG"))).startswith(b"\x89PNG")
    await expect(other.locator(".summary tbody th")).to_have_text(["coffee", "rain"])


async def test_the_sentiment_chart_has_its_data_as_a_file(stack_api: LiveSystem, now: Page) -> None:
    chart = now.locator(".sentiment-chart")
    await expect(chart.locator('.canvas[data-ready="true"]')).to_be_visible()
    rows = await rows_of(now, chart.get_by_role("button", name="CSV"))
    feelings = list(rows[0])[2:-1]
    assert [*list(rows[0])[:2], list(rows[0])[-1]] == ["start", "posts", "mean sentiment"]
    assert {"negative", "positive"} <= set(feelings) <= {"negative", "neutral", "positive"}
    known = [row for row in rows if row["posts"]]
    assert known
    for row in known:
        assert -1 <= float(row["mean sentiment"]) <= 1
        assert sum(int(row[name]) for name in feelings) == int(row["posts"])


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/?keyword=coffee&label=sadness", ".post"),
        ("/keywords?keyword=coffee", ".keyword-table tbody tr"),
        ("/compare?keyword=coffee&keyword=rain&measure=sentiment", '.canvas[data-ready="true"]'),
    ],
)
async def test_no_view_has_barriers(stack_api: LiveSystem, open_page: OpenPage, path: str, shown: str) -> None:
    # Without motion, a change of colours takes no time.
    page = await open_page(stack_api.address + path, reduced_motion="reduce")
    await page.locator(shown).first.wait_for()
    if shown == ".post":
        await page.get_by_role("button", name="Pause").click()
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await assert_no_barriers(page)
    await page.set_viewport_size({"width": 360, "height": 780})
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
