"""The log tail."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from . import data
from .conftest import Open
from .stub import World

pytestmark = pytest.mark.e2e


def lines(page: Page) -> Locator:
    return page.get_by_role("log").locator(".lines > div")


def test_lines_appear_as_they_are_written(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(lines(page)).to_have_count(40)
    world.log.append("a line <b>written</b> now")
    expect(lines(page).last).to_have_text("a line <b>written</b> now")
    assert page.get_by_role("log").evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 2


def test_pause_holds_the_view_and_follow_catches_up(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(lines(page)).to_have_count(40)
    page.get_by_role("button", name="Pause").click()
    world.log += ["one more", "and another"]
    follow = page.get_by_role("button", name="Follow (2 new)")
    expect(follow).to_be_visible()
    expect(lines(page)).to_have_count(40)
    follow.click()
    expect(lines(page)).to_have_count(42)
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")


def test_scrolling_up_pauses(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(lines(page)).to_have_count(40)
    page.get_by_role("log").hover()
    page.mouse.wheel(0, -200)
    expect(page.get_by_role("button", name="Follow")).to_be_visible()


def test_a_broken_stream_goes_on_where_it_was(open_page: Open, world: World) -> None:
    world.drop_log_after = 25
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(lines(page)).to_have_count(40)
    expect(lines(page).nth(25)).to_have_text(data.log_line(26))
    assert world.resumed_from == [None, "1-25"]


def test_the_log_of_a_job_that_is_over_is_read_once(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.DONE}")
    expect(lines(page)).to_have_count(40)
    expect(page.get_by_text("ended", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    assert world.resumed_from == []


def test_a_hidden_tab_gives_its_connection_back(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(lines(page)).to_have_count(40)
    _hide(page, True)
    world.log.append("written meanwhile")
    page.wait_for_timeout(2500)
    expect(lines(page)).to_have_count(40)
    _hide(page, False)
    expect(lines(page).last).to_have_text("written meanwhile")
    assert world.resumed_from == [None, "1-40"]


def _hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        "document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_only_the_end_of_a_long_log_is_kept(open_page: Open, world: World) -> None:
    world.log = [f"line {number}" for number in range(5000)]
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(lines(page).last).to_have_text("line 4999")
    assert lines(page).count() == 2000
