"""The list of jobs."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from . import data
from .conftest import Open
from .stub import World

pytestmark = pytest.mark.e2e


def rows(page: Page) -> Locator:
    return page.locator("tbody tr")


def test_every_job_has_its_status_and_progress(open_page: Open) -> None:
    page = open_page()
    expect(rows(page)).to_have_count(6)
    running = rows(page).filter(has_text="running")
    expect(running).to_contain_text("42 %")
    assert running.get_by_role("progressbar").evaluate("bar => bar.value") == pytest.approx(50 / 120)
    expect(rows(page).filter(has_text="failed")).to_contain_text("out_of_memory")
    expect(page.get_by_text("6 jobs, 2 active")).to_be_visible()
    expect(page.get_by_label("Cluster")).to_have_text("Ray: 2 nodes, 12 of 16 CPUs free, 1 GPU")


def test_a_name_is_text_and_never_markup(open_page: Open) -> None:
    page = open_page()
    expect(page.get_by_role("link", name=data.HOSTILE)).to_be_visible()
    expect(page.locator("tbody img")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "names"), [("failed", ["smollm2-maxmin"]), ("active", ["nightly-audit", "smollm2-nash"])]
)
def test_filter_by_status(open_page: Open, status: str, names: list[str]) -> None:
    page = open_page()
    page.get_by_label("Filter by status").select_option(status)
    expect(rows(page).get_by_role("link")).to_have_text(names)
    assert page.url.endswith(f"#/?status={status}")
    page.reload()
    expect(rows(page).get_by_role("link")).to_have_text(names)


def test_a_filter_chosen_while_the_list_is_on_its_way_takes_effect_at_once(open_page: Open) -> None:
    page = open_page()
    expect(rows(page)).to_have_count(6)
    page.clock.install()
    held: list[Route] = []
    page.route("**/v1/jobs?*", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/v1/jobs?*"):
        page.clock.fast_forward("01:00")
    page.clock.pause_at(page.evaluate("Date.now() / 1000") + 1)
    page.get_by_label("Filter by status").select_option("failed")
    held[0].continue_()
    expect(rows(page).get_by_role("link")).to_have_text(["smollm2-maxmin"])


@pytest.mark.parametrize(
    ("text", "names"),
    [("MAXMIN", ["smollm2-maxmin"]), ("owner:ben", ["debate-collect"]), ("owner:ann audit", ["nightly-audit"])],
)
def test_filter_by_text(open_page: Open, text: str, names: list[str]) -> None:
    page = open_page()
    page.get_by_label("Filter by text").fill(text)
    expect(rows(page).get_by_role("link")).to_have_text(names)
    expect(page.get_by_label("Filter by text")).to_be_focused()


def test_a_label_goes_to_the_server_as_it_wants_it(open_page: Open) -> None:
    page = open_page()
    with page.expect_request(re.compile(r"/v1/jobs\?label=team%3ATruth&label=stage%3Aa%2Fb&limit=")):
        page.get_by_label("Filter by text").fill("label:team=Truth label:stage=a/b label:half")


def test_no_jobs_and_no_fitting_jobs_say_so(open_page: Open, world: World) -> None:
    page = open_page("/?text=nothing-has-this-name")
    expect(page.get_by_text("No job fits this filter.")).to_be_visible()
    world.jobs = []
    page.get_by_label("Filter by text").fill("")
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    expect(page.get_by_role("table")).to_have_count(0)


def test_more_pages_on_demand(open_page: Open, world: World) -> None:
    world.page_size = 4
    page = open_page()
    expect(rows(page)).to_have_count(4)
    page.get_by_role("button", name="Show more").click()
    expect(rows(page)).to_have_count(6)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_the_list_refreshes_itself_and_keeps_the_focus(open_page: Open, world: World) -> None:
    page = open_page()
    link = page.get_by_role("link", name="smollm2-nash", exact=True)
    link.focus()
    world.job(data.RUNNING)["progress"]["step"] = 90
    world.jobs.insert(0, data.job("job-" + "e" * 28, "brand-new", "starting", progress=None))
    expect(rows(page).first).to_contain_text("brand-new")
    expect(rows(page).filter(has_text="running")).to_contain_text("75 %")
    expect(link).to_be_focused()


def test_a_job_is_reached_and_left_by_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    expect(rows(page)).to_have_count(6)
    page.get_by_label("Compare smollm2-nash", exact=True).focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="smollm2-nash", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="smollm2-nash", level=1)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="← Jobs")).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(6)


def test_the_skip_link_leads_to_the_content(open_page: Open) -> None:
    page = open_page()
    expect(rows(page)).to_have_count(6)
    page.get_by_role("link", name="Skip to the content").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Filter by text")).to_be_focused()
