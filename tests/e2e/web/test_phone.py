"""A phone's width, and the page's own promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from trialign_api.callers import CallerOut, KeyOut
from trialign_api.schemas import Artifact, AuditOut, Checkpoint, ClusterOut, DatasetOut, EventOut, JobOut, Plan

from . import data
from .conftest import sign_in
from .stub import WEB, World

pytestmark = pytest.mark.e2e

_WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"


@pytest.mark.parametrize(
    ("route", "ready"),
    [
        ("/", "smollm2-maxmin"),
        (f"/jobs/{data.RUNNING}", "Step 50 of 120"),
        (f"/jobs/{data.DONE}", "Right for everyone"),
        (f"/jobs/{data.FAILED}", "out_of_memory"),
        (f"/jobs/{data.DONE}/report", "Truth report"),
        (f"/compare?jobs={data.RUNNING},{data.DONE}", "What was asked differently"),
        (f"/new?from={data.DONE}", "Clone with changes"),
        ("/datasets", "chat-june"),
        ("/audit", "192.0.2.7"),
    ],
)
def test_nothing_is_wider_than_a_phone(phone: Page, world: World, route: str, ready: str) -> None:
    sign_in(phone, world)
    phone.goto(f"{world.url}#{route}")
    expect(phone.get_by_text(ready).first).to_be_visible()
    scroll, client = phone.evaluate(_WIDTHS)
    assert scroll <= client == 390


@pytest.mark.parametrize(("route", "word"), [("/datasets", "chat-june"), (f"/jobs/{data.DONE}", "professor_germany")])
def test_words_of_a_wide_table_stay_whole(phone: Page, world: World, route: str, word: str) -> None:
    sign_in(phone, world)
    phone.goto(f"{world.url}#{route}")
    cell = phone.locator("table").get_by_text(word, exact=True).first
    expect(cell).to_be_visible()
    line = float(cell.evaluate("cell => parseFloat(getComputedStyle(cell).lineHeight)"))
    padding = cell.evaluate("cell => 2 * parseFloat(getComputedStyle(cell).paddingTop)")
    box = cell.bounding_box()
    assert box is not None
    assert box["height"] < 1.5 * line + padding


def test_charts_drop_the_names_beside_their_lines_and_keep_the_legend(phone: Page, world: World) -> None:
    sign_in(phone, world)
    phone.goto(f"{world.url}#/jobs/{data.RUNNING}")
    expect(phone.get_by_role("button", name=re.compile("neutral"))).to_be_visible()
    expect(phone.get_by_role("slider", name="Accuracy by group").locator("path")).to_have_count(len(data.GROUPS))
    expect(phone.get_by_role("slider").locator(".series text")).to_have_count(0)


def test_a_tap_shows_the_numbers_of_a_step_until_the_next_elsewhere(browser: Browser, world: World) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    sign_in(page, world)
    page.goto(f"{world.url}#/jobs/{data.RUNNING}")
    page.get_by_role("slider", name="Accuracy by group").tap(position={"x": 200, "y": 80})
    expect(page.locator(".tip").first.get_by_role("listitem")).to_have_count(len(data.GROUPS))
    page.get_by_role("heading", name="Fairness weight by group").tap()
    expect(page.locator(".tip").first).to_be_hidden()
    page.close()


@pytest.mark.parametrize("path", sorted(WEB.iterdir()), ids=lambda path: path.name)
def test_no_file_has_inline_code_or_another_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=\"|\son[a-z]+=\"|innerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}


def test_the_canned_answers_are_those_of_the_api() -> None:
    for job in data.jobs():
        JobOut.model_validate(job, extra="forbid")
    for event in data.events("running"):
        EventOut.model_validate(event, extra="forbid")
    for checkpoint in data.checkpoints():
        Checkpoint.model_validate(checkpoint, extra="forbid")
    for artifact in data.artifacts("succeeded"):
        Artifact.model_validate(artifact, extra="forbid")
    ClusterOut.model_validate(data.cluster(), extra="forbid")
    Plan.model_validate(data.plan(), extra="forbid")
    CallerOut.model_validate(data.caller(("read",)), extra="forbid")
    for shape, rows in ((DatasetOut, data.datasets()), (KeyOut, data.keys()), (AuditOut, data.audit())):
        for row in rows:
            shape.model_validate(row, extra="forbid")
