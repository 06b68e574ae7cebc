"""The key: asked for once, kept in the tab, never in an address."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .conftest import Open, sign_in
from .stub import KEY, World, problem

pytestmark = pytest.mark.e2e


def test_the_key_is_asked_for_once(page: Page, world: World) -> None:
    page.goto(world.url)
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="smollm2-maxmin")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="smollm2-maxmin")).to_be_visible()
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_a_key_that_the_server_refuses_is_asked_for_again(page: Page, world: World) -> None:
    page.goto(world.url)
    page.get_by_label("API key").fill("tk_wrong")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_have_text("The server does not accept this key.")
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_a_key_in_the_address_is_taken_out_of_it(page: Page, world: World) -> None:
    sign_in(page, world)
    assert page.url == f"{world.url}#/"
    assert KEY not in page.evaluate("history.state + location.href")


def test_forgetting_the_key_ends_the_session(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    expect(page.get_by_role("table")).to_have_count(0)


def test_a_problem_of_the_server_is_shown_and_goes_when_it_is_over(open_page: Open, world: World) -> None:
    world.refusal = problem(
        503, "cluster_unavailable", "Service Unavailable", "The database does not answer.",
        [{"pointer": "/query/limit", "code": "x", "detail": "too many"}],
    )  # fmt: skip
    page = open_page()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Service Unavailable")
    expect(alert).to_contain_text("cluster_unavailable")
    expect(alert).to_contain_text("The database does not answer.")
    expect(alert).to_contain_text("/query/limit")
    world.refusal = None
    expect(page.get_by_role("link", name="smollm2-maxmin")).to_be_visible(timeout=15_000)
    expect(alert).to_have_count(0)
