"""The documentation's site: built strictly, and read without asking any other server."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import Seen, chromium

ROOT = Path(__file__).parents[2]
_LOADED = re.compile(r'<(?:script|img|link|iframe|source)\b[^>]*?\s(?:src|href)="?(https?:)?//')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(target)]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return target


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_page_loads_anything_from_elsewhere(site: Path):
    pages = {str(page.relative_to(site)): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert {"index.html", "concepts.html", "reference/rest.html", "notebooks/tiny.html"} <= set(pages)
    assert [name for name, text in pages.items() if _LOADED.search(text)] == []


def test_formulas_diagram_and_search_work_without_a_network(address: str):
    seen = Seen()
    with chromium() as browser:
        page = seen.watch(browser.new_page())
        page.goto(f"http://{address}/concepts.html")
        expect(page.locator("math[display=block]")).to_have_count(7)
        page.goto(f"http://{address}/architecture.html")
        expect(page.get_by_role("img", name="Which room imports which")).to_contain_text("objective")
        page.goto(f"http://{address}/index.html")
        page.get_by_role("textbox", name="Search").fill("max_restarts")
        expect(page.locator(".md-search-result__item").first).to_contain_text("max_restarts")
    assert (seen.errors, seen.hosts) == ([], {address})


def test_the_reference_has_every_command_route_and_field(site: Path):
    commands, specifications, rest, seams = (
        (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
        for name in ("commands", "specifications", "rest", "seams")
    )
    assert "trialign jobs submit" in commands
    assert "--fail-if" in commands
    assert "questions_per_step" in specifications
    assert "/v1/jobs:validate" in rest
    assert "PolicyLoss" in seams
