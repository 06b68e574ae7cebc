"""A headless Chromium, and a page that fails its test on any error of the console or request to another host."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from .stub import KEY, World, serving

_CHROMIUM = shutil.which("chromium")
_HTTP_FAILURE = "Failed to load resource: the server responded with a status of"
_PATIENCE_MS = 10_000


@dataclass
class Seen:
    """What the page must not do."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def console(self, message: ConsoleMessage) -> None:
        # Chromium itself reports every 4xx and 5xx; the page shows those to its reader.
        if message.type in ("error", "warning") and not message.text.startswith(_HTTP_FAILURE):
            self.errors.append(message.text)

    def request(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Not of the session: while Playwright's loop is there, `asyncio.run` of any later test is refused."""
    if _CHROMIUM is None:
        pytest.skip("no 'chromium' on the PATH; Debian's package of that name has it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def world() -> Iterator[World]:
    with serving(World()) as world:
        yield world


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """A desktop page that nobody has signed in to."""
    yield from _watched(browser, world, (1280, 860))


@pytest.fixture
def phone(browser: Browser, world: World) -> Iterator[Page]:
    yield from _watched(browser, world, (390, 844))


Open = Callable[..., Page]


@pytest.fixture
def open_page(page: Page, world: World) -> Open:
    """Opens an address of the page with a good key."""

    def opened(route: str = "/") -> Page:
        sign_in(page, world)
        page.goto(f"{world.url}#{route}")
        return page

    return opened


def sign_in(page: Page, world: World) -> None:
    page.goto(f"{world.url}#key={KEY}")
    page.get_by_role("heading", name="Jobs", exact=True).wait_for()


def _watched(browser: Browser, world: World, size: tuple[int, int]) -> Iterator[Page]:
    seen = Seen()
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(_PATIENCE_MS)
    page.on("console", seen.console)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", seen.request)
    yield page
    page.close()
    assert seen.errors == []
    assert seen.hosts <= {urlsplit(world.url).netloc, ""}  # a blob: of the page itself has no host
