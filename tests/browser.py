"""A headless Chromium, and what a page in it must not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

_CHROMIUM = shutil.which("chromium")
expect.set_options(timeout=30_000)
_HTTP_FAILURE = "Failed to load resource: the server responded with a status of"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; skips the test without one."""
    if _CHROMIUM is None:
        pytest.skip("no 'chromium' on the PATH; Debian's package of that name has it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM)
        yield browser
        browser.close()


@dataclass
class Seen:
    """What the page must not do."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def watch(self, page: Page) -> Page:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        # Chromium itself reports every 4xx and 5xx; the page shows those to its reader.
        if message.type in ("error", "warning") and not message.text.startswith(_HTTP_FAILURE):
            self.errors.append(message.text)

    def _request(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)
