"""Writes pictures of the views of a running service to a folder, for the documentation.

    PYTHONPATH=.. python scripts/screenshots.py http://127.0.0.1:8000

Each view is taken in light and dark colours, and on a narrow screen. The service should have posts of some hours.
"""

from __future__ import annotations

import argparse
import asyncio
import io
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.async_api import Browser, Page

from tests.browser.chromium import running_chromium
from tests.browser.waiting import until_true

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "dashboard"

MOST_BYTES = 150_000
"""The most bytes of a picture. One that has more gets fewer colours."""

LOOKS: Mapping[str, tuple[int, int, str]] = {
    "light": (1440, 900, "light"),
    "dark": (1440, 900, "dark"),
    "narrow": (360, 780, "light"),
}
"""Width and height in CSS pixels, and the colours of the page."""


async def names(page: Page, address: str, most: int) -> list[str]:
    """Returns the most frequent keywords of a service."""
    found = await (await page.request.get(f"{address}/v1/keywords?limit={most + 1}")).json()
    return [one["keyword"] for one in found["keywords"] if one["keyword"] != "*"][:most]


async def latest_incident(page: Page, address: str) -> str | None:
    """Returns the key of the latest incident; None if there is none."""
    found = await (await page.request.get(f"{address}/v1/alerts/incidents?limit=1")).json()
    return next((one["incident"] for one in found["incidents"]), None)


def views(keywords: list[str], incident: str | None) -> dict[str, str]:
    """Returns the addresses of the views by their names. The part after `#` is the class of what is scrolled to."""
    return {
        "now": "/?span=6h",
        "feed": "/?span=6h#feed",
        "keywords": "/keywords?" + urlencode([("keyword", one) for one in keywords[:3]]),
        "compare": "/compare?" + urlencode([("keyword", one) for one in keywords]),
        "ask": "/ask?" + urlencode({"keyword": keywords[0]}),
        "alerts": "/alerts" + (f"?{urlencode({'incident': incident})}" if incident else ""),
    }


async def taken(page: Page, url: str) -> bytes:
    """Returns a picture of a view, as soon as all of its charts are drawn."""
    url, _, wanted = url.partition("#")
    await page.goto(url)
    await until_true(
        page,
        """() => document.querySelector('main h1') && !document.querySelector('main .waiting, [aria-busy=true]')
            && ![...document.querySelectorAll('.canvas')].some((one) => one.dataset.ready !== 'true')""",
    )
    if wanted:
        await page.locator(f".{wanted}").scroll_into_view_if_needed()
    await page.wait_for_timeout(2_000)  # charts draw themselves in half a second, and posts come
    return await page.screenshot(animations="disabled")


def small(picture: bytes) -> bytes:
    """Returns a PNG picture with as many colours as fit into `MOST_BYTES`."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    colours = 256
    while len(picture) > MOST_BYTES and colours >= 16:
        file = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(file, "png", optimize=True)
        picture, colours = file.getvalue(), colours // 2
    return picture


async def take_all(browser: Browser, address: str, folder: Path, only: list[str]) -> None:
    """Write the pictures, and print a line for each."""
    for look, (width, height, scheme) in LOOKS.items():
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            locale="en-GB",
        )
        page = await context.new_page()
        paths = views(await names(page, address, 4), await latest_incident(page, address))
        for name, path in paths.items():
            if only and name not in only:
                continue
            picture = small(await taken(page, address + path))
            file = folder / f"{name}-{look}.png"
            file.write_bytes(picture)
            print(f"{file.name}: {len(picture) / 1000:.0f} kB")
        await context.close()


async def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="address of the service, such as http://127.0.0.1:8000")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="*", default=[], help="views, such as `now`; all by default")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    async with running_chromium() as browser:
        await take_all(browser, arguments.address.rstrip("/"), arguments.folder, arguments.only)


if __name__ == "__main__":
    asyncio.run(main())
