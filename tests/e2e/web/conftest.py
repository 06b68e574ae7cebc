"""A headless Chromium, and a page that fails its test on any error of the console or request to another host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Seen, chromium

from .stub import KEY, World, serving

_PATIENCE_MS = 10_000


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Not of the session: while Playwright's loop is there, `asyncio.run` of any later test is refused."""
    with chromium() as browser:
        yield browser


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
    yield seen.watch(page)
    page.close()
    assert seen.errors == []
    assert seen.hosts <= {urlsplit(world.url).netloc, ""}  # a blob: of the page itself has no host
