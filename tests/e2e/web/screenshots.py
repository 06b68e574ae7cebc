"""Pictures of the page for the README: `python -m tests.e2e.web.screenshots FOLDER`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from . import data
from .stub import KEY, World, serving

DESK, PHONE = (1280, 860), (390, 844)
Scheme = Literal["light", "dark"]
_PARTS = (
    ("compare", f"/compare?jobs={data.RUNNING},{data.DONE}", "What was asked differently"),
    ("clone", f"/new?from={data.DONE}", "Clone with changes"),
    ("datasets", "/datasets", "chat-june"),
    ("keys", "/keys", "revoked"),
    ("audit", "/audit", "192.0.2.7"),
)


def main(folder: Path) -> None:
    """Take every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with serving(World()) as world, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, size, scheme in (
            ("light", DESK, "light"),
            ("dark", DESK, "dark"),
            ("phone", PHONE, "light"),
            ("phone-dark", PHONE, "dark"),
        ):
            _pictures(browser, world, folder, name, size, scheme)  # type: ignore[arg-type]
        browser.close()


def _pictures(browser: Browser, world: World, folder: Path, name: str, size: tuple[int, int], scheme: Scheme) -> None:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, device_scale_factor=1)
    page.goto(f"{world.url}#key={KEY}")
    page.get_by_role("link", name="smollm2-nash", exact=True).wait_for()
    page.screenshot(path=folder / f"jobs-{name}.png")
    _running(page, world, folder / f"job-{name}.png")
    _ended(page, world, folder / f"ended-{name}.png")
    page.goto(f"{world.url}#/jobs/{data.DONE}/report")
    page.frame_locator("iframe").locator("svg.plot").first.wait_for()
    page.screenshot(path=folder / f"report-{name}.png")
    for part, route, ready in _PARTS:
        page.goto(f"{world.url}#{route}")
        page.get_by_text(ready).first.wait_for()
        page.wait_for_timeout(300)
        page.screenshot(path=folder / f"{part}-{name}.png", full_page=True)
    page.close()


def _running(page: Page, world: World, picture: Path) -> None:
    page.goto(f"{world.url}#/jobs/{data.RUNNING}")
    page.get_by_role("log").get_by_text("step 40/").wait_for()
    page.get_by_role("slider", name="Accuracy by group").hover(position={"x": 190, "y": 90})
    page.screenshot(path=picture, full_page=True)


def _ended(page: Page, world: World, picture: Path) -> None:
    page.goto(f"{world.url}#/jobs/{data.DONE}")
    page.get_by_role("article", name="Gap").wait_for()
    page.wait_for_timeout(300)
    page.screenshot(path=picture, full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
