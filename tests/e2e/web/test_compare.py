"""Several runs over one another, and the questions that split the groups of one."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from . import data
from .conftest import Open
from .stub import World

pytestmark = pytest.mark.e2e


def test_two_ticked_jobs_are_laid_over_one_another(open_page: Open, world: World) -> None:
    page = open_page()
    compare = page.get_by_role("link", name="Compare 2")
    page.get_by_label("Compare smollm2-nash", exact=True).check()
    expect(compare).to_be_hidden()
    page.get_by_label("Compare smollm2-nash-lambda-1").check()
    compare.click()
    expect(page.get_by_role("heading", name="Runs compared")).to_be_focused()
    chart = page.locator("figure").filter(has=page.get_by_role("heading", name="Learning rate"))
    expect(chart.locator(".series text")).to_have_text(["smollm2-nash", "smollm2-nash-lamb…"])
    expect(page.locator("figure")).to_have_count(8)
    figures = page.get_by_role("region", name="Figures")
    report = data.report()[0]
    expect(figures.get_by_role("row", name=re.compile("^Gap"))).to_contain_text(
        f"{100 * report['base']['gap']['value']:.1f} % → {100 * report['trained']['gap']['value']:.1f} %"
    )
    different = page.get_by_role("region", name="What was asked differently").locator("tbody tr")
    expect(different).to_have_text(["namesmollm2-nashsmollm2-nash-lambda-1", "algorithm.kl00.05"])
    assert world.rows_asked == [("-1", "500")] * 2


def test_a_report_that_cannot_be_read_leaves_the_comparison_its_curves(open_page: Open, world: World) -> None:
    world.report = {"base": None, "trained": 3}
    page = open_page(f"/compare?jobs={data.RUNNING},{data.DONE}")
    expect(page.locator("figure")).to_have_count(8)
    expect(page.get_by_role("region", name="Figures")).to_have_count(0)


def test_questions_that_split_the_groups_are_browsed_with_their_answers(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.DONE}")
    questions = data.report()[0]["split_questions"]
    panel = page.get_by_role("region", name="Questions that split the groups", exact=True)
    expect(panel.get_by_text(f"1 of {len(questions)}")).to_be_visible()
    first, second = (panel.get_by_role("heading", name=each["question"], exact=True) for each in questions[:2])
    expect(first).to_be_visible()
    answers = panel.get_by_role("region", name="Answers by group")
    expect(answers.get_by_role("row")).to_have_count(1 + len(data.GROUPS))
    given = questions[0]["sides"]["base"]["given"]["neutral"][0]
    mark = "right" if given["correct"] else "wrong"
    expect(answers.get_by_role("row", name=re.compile("^neutral"))).to_contain_text(f"{mark}: {given['response']}")
    panel.get_by_role("button", name="Next").press("Enter")
    expect(second).to_be_visible()
    panel.get_by_label("Search the questions").fill("no such words")
    expect(panel.get_by_text("None has these words.")).to_be_visible()


@pytest.mark.parametrize("report", [{"trained": []}, {"audit": {"questions": 3}}, {"split_questions": [{}]}])
def test_a_malformed_report_hides_nothing_else(open_page: Open, world: World, report: dict[str, object]) -> None:
    world.report = report
    page = open_page(f"/jobs/{data.DONE}")
    expect(page.get_by_role("alert")).to_contain_text("The report cannot be shown")
    expect(page.get_by_role("slider", name="Accuracy by group")).to_be_visible()
    expect(page.get_by_role("button", name="Download report.json")).to_be_visible()
    expect(page.get_by_role("log").get_by_text("step 40/")).to_be_visible()


def test_an_interval_without_width_gives_no_verdict(open_page: Open, world: World) -> None:
    world.report = data.report()[0]
    changed = {"value": -0.143, "low": -0.143, "high": -0.143}
    world.report = world.report | {"difference": world.report["difference"] | {"correct_unanimity": changed}}
    page = open_page(f"/jobs/{data.DONE}")
    expect(page.get_by_role("article", name="Right for everyone")).to_contain_text("−14.3 pts, no clear change")


def test_the_names_of_sixteen_groups_stay_within_their_chart(open_page: Open, world: World) -> None:
    world.groups = 16
    page = open_page(f"/jobs/{data.RUNNING}")
    chart = page.locator("figure").filter(has=page.get_by_role("heading", name="Accuracy by group"))
    names = chart.locator(".series text")
    expect(names).to_have_count(16)
    plot = chart.locator("svg").bounding_box()
    boxes = sorted((box["y"], box["height"]) for box in map(_box, names.all()))
    assert plot is not None
    assert boxes[0][0] >= plot["y"]
    assert sum(boxes[-1]) <= plot["y"] + plot["height"]
    assert all(low - high >= 12 for (high, _), (low, _) in pairwise(boxes))


def _box(name: object) -> dict[str, float]:
    return name.bounding_box()  # type: ignore[attr-defined, no-any-return]


def test_specification_and_plan_of_a_job(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    expect(page.get_by_role("region", name="Specification", exact=True)).to_contain_text("lora.rank16")
    panel = page.get_by_role("region", name="Specification and plan")
    expect(panel).to_contain_text("reserves3.5 CPU")
    expect(panel).to_contain_text("memory of a worker2.5 GB")
    expect(panel).to_contain_text("of which it may take2.0 GB")
    expect(panel).to_contain_text("passes of a step, at most7")
    expect(panel).to_contain_text("does not fitset 'learner.zero_stage: 3'")


def _rows(page: Page) -> list[str]:
    return page.locator("tbody tr .name a").all_text_contents()


def test_the_list_is_sorted_by_its_columns_and_remembers_it(open_page: Open) -> None:
    page = open_page()
    expect(page.locator("tbody tr")).to_have_count(6)
    before = _rows(page)
    page.get_by_role("button", name="Job", exact=True).press("Enter")
    expect(page.get_by_role("columnheader", name="Job", exact=True)).to_have_attribute("aria-sort", "ascending")
    assert _rows(page) == sorted(before, key=str.lower)
    page.get_by_role("button", name="Job", exact=True).click()
    assert _rows(page) == sorted(before, key=str.lower, reverse=True)
    page.reload()
    expect(page.get_by_role("columnheader", name="Job", exact=True)).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Filter by kind").select_option("collect")
    expect(page.locator("tbody tr .name a")).to_have_text(["debate-collect"])
