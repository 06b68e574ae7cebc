"""One job, live."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from . import data
from .conftest import Open
from .stub import World, problem

pytestmark = pytest.mark.e2e


def chart(page: Page, title: str) -> Locator:
    return page.locator("figure").filter(has=page.get_by_role("heading", name=title))


def test_a_running_job_tells_where_it_is(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(page.get_by_text("Step 50 of 120 · 42 % · about 7 min left")).to_be_visible()
    expect(page.get_by_text("train · by ann · created 14 min ago · running for 13 min")).to_be_visible()
    expect(page).to_have_title("42 % smollm2-nash, running · TriAlign")
    dashboard = page.get_by_role("link", name="This job there")
    expect(dashboard).to_have_attribute("href", f"http://127.0.0.1:8265/#/jobs/{data.RUNNING}-a1")


def test_charts_show_every_group_and_the_objective(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    for title in ("Accuracy by group", "Fairness weight by group"):
        expect(chart(page, title).locator(".series path")).to_have_count(len(data.GROUPS))
        assert sorted(chart(page, title).locator(".series text").all_text_contents()) == sorted(data.GROUPS)
    for title in ("Inconsistency penalty", "Distance to the reference", "Loss"):
        expect(chart(page, title).locator(".series path")).to_have_count(1)
    expect(page.get_by_role("list", name=re.compile("^Groups")).get_by_role("button")).to_have_count(len(data.GROUPS))


def test_new_steps_move_the_charts_and_the_time_left(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(page.get_by_text("Step 50 · 6.0 s a step")).to_be_visible()
    world.steps = 100
    world.job(data.RUNNING)["progress"]["step"] = 100
    expect(page.get_by_text("Step 100 of 120 · 83 % · about 2 min left")).to_be_visible()
    expect(page.get_by_text("Step 100 · 6.0 s a step")).to_be_visible()


def test_the_cursor_of_a_chart_moves_by_mouse_and_by_keys(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    slider = page.get_by_role("slider", name="Accuracy by group")
    slider.hover(position={"x": 200, "y": 80})
    tip = chart(page, "Accuracy by group").locator(".tip")
    expect(tip.get_by_role("listitem")).to_have_count(len(data.GROUPS))
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    page.get_by_role("list", name=re.compile("^Groups")).get_by_role("button").last.focus()
    page.keyboard.press("Tab")
    expect(slider).to_be_focused()
    expect(slider).to_have_attribute("aria-valuenow", "50")
    for key, step in (
        ("ArrowLeft", 49),
        ("PageDown", 39),
        ("Home", 1),
        ("ArrowLeft", 1),
        ("ArrowRight", 2),
        ("End", 50),
    ):
        page.keyboard.press(key)
        expect(slider).to_have_attribute("aria-valuenow", str(step))
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^step 50: .*neutral \d+ %"))
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_a_group_that_is_chosen_stands_out(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    button = page.get_by_role("button", name=re.compile("nurse_brazil"))
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    for title in ("Accuracy by group", "Fairness weight by group"):
        faded = chart(page, title).locator(".series.faded:has(path)")
        expect(faded).to_have_count(len(data.GROUPS) - 1)
    button.press("Enter")
    expect(page.locator(".series.faded")).to_have_count(0)


def test_the_numbers_behind_a_chart(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(page.get_by_label("Smooth")).to_be_checked()
    page.get_by_label("Smooth").uncheck()
    penalty = chart(page, "Inconsistency penalty")
    penalty.get_by_text("Numbers").click()
    expect(penalty.locator("tbody tr")).to_have_count(50)
    newest = data.metrics(50)[-1]["penalty"]
    expect(penalty.locator("tbody tr").first).to_have_text(f"50{newest:.3f}")


def test_a_long_run_is_read_in_no_more_rows_than_a_chart_has_points(open_page: Open, world: World) -> None:
    world.steps = 3000
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(page.get_by_text("Step 3,000 · ")).to_be_visible()
    page.get_by_label("Smooth").uncheck()
    penalty = chart(page, "Inconsistency penalty")
    penalty.get_by_text("Numbers").click()
    expect(penalty.locator("tbody tr")).to_have_count(500)
    for at, step in ((0, "3,000"), (-1, "1")):
        expect(penalty.locator("tbody tr").nth(at).get_by_role("rowheader")).to_have_text(step)
    for steps in (3600, 3700):
        world.steps = world.job(data.RUNNING)["progress"]["step"] = steps
        expect(page.get_by_text(f"Step {steps:,} · ")).to_be_visible()
    assert world.rows_asked == [("-1", "500"), ("3000", "500"), ("-1", "500")]


def test_every_number_of_an_axis_is_within_its_chart(open_page: Open, world: World) -> None:
    world.steps = 4000
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(chart(page, "Loss").locator(".axes text").filter(has_text="4,000")).to_be_visible()
    for svg in page.locator("figure svg").all():
        edges = svg.evaluate(
            "svg => [svg, ...svg.querySelectorAll('.axes text')].map(e => e.getBoundingClientRect().right)"
        )
        assert max(edges) == edges[0]


def test_before_and_after_with_intervals(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.DONE}")
    report = data.report()[0]
    for name, metric in (("Right for everyone", "correct_unanimity"), ("Gap", "gap")):
        tile = page.get_by_role("article", name=name)
        for side in ("base", "trained"):
            figure = report[side][metric]
            expect(tile).to_contain_text(f"{100 * figure['value']:.1f} %")
            expect(tile).to_contain_text(f"{100 * figure['low']:.1f} to {100 * figure['high']:.1f} %")
        expect(tile.get_by_role("img", name=re.compile("95 % intervals: Before .*; After "))).to_be_visible()
    expect(page.get_by_role("article", name="Right for everyone")).to_contain_text("pts, better")
    expect(page.get_by_role("article", name="Right for everyone")).not_to_contain_text("p = ")
    p = report["difference"]["gap_p"]["value"]
    expect(page.get_by_role("article", name="Gap")).to_contain_text(f"p = {p:.3f}")


def test_events_checkpoints_and_files(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.DONE}")
    events = page.get_by_role("region", name="Events, newest first").get_by_role("listitem")
    expect(events.first).to_contain_text("The job is succeeded.")
    expect(events.last).to_contain_text("Submitted by ann.")
    expect(page.get_by_role("region", name="Checkpoints").get_by_role("row")).to_have_count(5)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download report.html").click()
    assert download.value.suggested_filename == "report.html"


def test_the_report_is_read_in_the_page_with_its_own_look(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.DONE}")
    page.get_by_role("link", name="Read the report").click()
    report = page.frame_locator("iframe[title='Truth report']")
    expect(report.get_by_role("heading", name="smollm2-nash-lambda-1")).to_be_visible()
    expect(report.locator(".card").first).to_have_css("border-radius", "12px")
    assert page.locator("iframe").get_attribute("sandbox") == "allow-same-origin"
    page.get_by_role("link", name="← Job").click()
    expect(page.get_by_role("heading", name="smollm2-nash-lambda-1")).to_be_visible()


def test_a_failed_job_says_why_and_offers_to_go_on(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.FAILED}")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("out_of_memory")
    expect(alert).to_contain_text("ran out of memory at step 31. Halve 'questions_per_step'")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_a_job_that_is_not_there(open_page: Open) -> None:
    page = open_page("/jobs/job-nobody-has")
    expect(page.get_by_role("heading", name="No such job")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("There is no job that this key may see.")


def test_a_queued_job_has_empty_states_and_no_charts(open_page: Open, world: World) -> None:
    world.log, world.log_ended = [], True
    page = open_page("/jobs/job-" + "b" * 28)
    expect(page.get_by_text("Waiting for free cluster resources.")).to_be_visible()
    expect(page.get_by_role("slider")).to_have_count(0)


def test_cancel_asks_first(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    cancel.press("Enter")
    expect(page.get_by_role("button", name="Keep it running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(cancel).to_be_focused()
    cancel.click()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.go_forward()
    assert world.posts == []
    cancel.click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("Writing a checkpoint before it ends.")).to_be_visible()
    expect(cancel).to_have_count(0)
    [(path, nonce)] = world.posts
    assert path == f"/v1/jobs/{data.RUNNING}/cancel"
    assert nonce is not None
    assert len(nonce) >= 32


def test_resume_keeps_the_job_and_retry_opens_the_new_one(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.FAILED}")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Start a new job").click()
    expect(page.get_by_role("link", name=data.FAILED)).to_be_visible()
    assert page.url.endswith("#/jobs/job-" + "d" * 28)
    page.get_by_role("link", name=data.FAILED).click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Resume the job").click()
    expect(page.get_by_text("Waiting for free cluster resources.")).to_be_visible()
    assert [path.rsplit("/", 1)[1] for path, _ in world.posts] == ["retry", "resume"]
    assert len({nonce for _, nonce in world.posts}) == 2


def test_a_refused_action_says_so_until_the_next(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    expect(cancel).to_be_visible()
    page.route("**/cancel", lambda route: route.fulfill(**_forbidden()))
    cancel.click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("alert")).to_contain_text("This key may only read.")
    page.wait_for_timeout(2500)
    expect(page.get_by_role("alert")).to_contain_text("This key may only read.")
    expect(cancel).to_be_enabled()


def _forbidden() -> dict[str, object]:
    status, body = problem(403, "forbidden", "Forbidden", "This key may only read.")
    return {"status": status, "json": body, "content_type": "application/problem+json"}
