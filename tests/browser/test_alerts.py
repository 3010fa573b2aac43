"""Alerts in the page: a rule is made, posts fulfil it, the incident appears with its reason, and is muted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.async_api import expect

from connectors.local import Endpoints
from streams.ops.demo.processes import Role, clean_environment
from tests.browser.axe import assert_no_barriers
from tests.browser.chromium import PageProblems
from tests.browser.conftest import OpenPage, Screenshot
from tests.browser.live_system import LiveSystem, SteadyPosts, live_system
from tests.integration.conftest import new_env
from tests.integration.rules_support import add_incident
from tests.integration.support import post

RULE = "Much tea"


@pytest.fixture(scope="module")
def system(endpoints: Endpoints, model_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSystem]:
    """The whole application, with the evaluation of alerts."""
    folder = tmp_path_factory.mktemp("alerts")
    with (
        new_env(endpoints, model_uri, tmp_path_factory) as env,
        live_system(env, folder, EMOSTREAM_ALERT_WEB_PORT="0") as found,
    ):
        evaluation = Role(
            "alerts", ["alerts", "run"], env=clean_environment(found.environment), log=folder / "alerts.log"
        )
        try:
            yield found
        finally:
            evaluation.kill()


async def test_a_rule_made_in_the_page_finds_an_incident_that_the_page_shows_and_mutes(
    system: LiveSystem, open_page: OpenPage, screenshot: Screenshot, problems: PageProblems
) -> None:
    page = await open_page(f"{system.address}/alerts")
    await expect(page.get_by_role("heading", name="No incidents yet")).to_be_visible()
    await page.get_by_role("link", name="Make a rule").click()
    await page.get_by_role("button", name="New rule").click()
    form = page.get_by_role("form", name="New rule")
    await form.get_by_label("Name").fill(RULE)
    await form.get_by_label("Keywords, one a line").fill("tea")
    await form.get_by_role("combobox", name="Measure").select_option(label="number of posts")
    await form.get_by_role("combobox", name="Condition").select_option(label="a fixed limit")
    await form.get_by_label("Limit, in posts").fill("50")
    await form.get_by_role("combobox", name="Window").select_option(label="1 day")
    await form.get_by_label("Windows in a row").fill("1")
    await form.get_by_label("At least so many posts").fill("10")
    await expect(form.get_by_text("When the number of posts about tea is above 50 in 1 day.")).to_be_visible()
    problems.allow("422")  # the sink may not have written windows yet
    await form.get_by_role("button", name="Try it on the last week").click()
    await expect(form.get_by_text(re.compile("would have found|no windows of this size"))).to_be_visible()
    await screenshot(page, "alerts-rule-form")
    await assert_no_barriers(page)
    await form.get_by_role("button", name="Store").click()
    await expect(page.get_by_label("On", exact=True)).to_be_checked()
    await screenshot(page, "alerts-rules")

    await page.get_by_role("button", name="New rule").click()
    await form.get_by_label("Name").fill(RULE)
    problems.allow("409")
    await form.get_by_role("button", name="Store").click()
    await expect(form.get_by_role("alert")).to_contain_text("There is a rule of this name.")
    await form.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_text("posts about tea is above 50")).to_be_visible()

    await page.get_by_label("Incidents", exact=True).first.check(force=True)
    entry = page.get_by_role("button", name=RULE)
    # The evaluation learns of the rule within seconds, and sees the windows that change from then on.
    with SteadyPosts(system.settings, 10, lambda _: post("what a lovely tea, I am so happy", keywords=["tea"])):
        await expect(entry).to_be_visible()
    await entry.click()
    detail = page.get_by_role("region", name="Incident")
    await expect(detail.get_by_role("heading", name=RULE)).to_be_visible()
    await expect(detail.get_by_text("topic alerts")).to_be_visible()
    await assert_no_barriers(page)
    await screenshot(page, "alerts-incident")

    await detail.get_by_label("Mute the rule for this keyword").select_option(label="8 h")
    await expect(detail.get_by_label("Mute the rule for this keyword")).to_have_value("")
    again = await open_page(f"{system.address}/alerts?tab=mutes", color_scheme="dark")
    await expect(again.get_by_role("heading", name="tea")).to_be_visible()
    await assert_no_barriers(again)
    await again.get_by_role("button", name="End").click()
    await expect(again.get_by_text("Nothing is muted.")).to_be_visible()


async def test_an_incident_of_the_history_has_its_words_posts_and_course(
    system: LiveSystem, open_page: OpenPage, screenshot: Screenshot
) -> None:
    key = add_incident(system.settings.postgres_dsn.get_secret_value())
    page = await open_page(
        f"{system.address}/alerts?incident={quote(key)}", viewport={"width": 360, "height": 800}, color_scheme="dark"
    )
    await page.locator(".canvas[data-ready=true]").wait_for()
    await expect(page.get_by_role("heading", name="Words that are more frequent than before")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await assert_no_barriers(page)
    await screenshot(page, "alerts-narrow-dark")
