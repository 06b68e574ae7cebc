"""Submitting, cloning and deleting, and what a key may: the page offers nothing that the server refuses."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from trialign_api.settings import Settings

from . import data
from .conftest import Open
from .stub import World, problem

pytestmark = pytest.mark.e2e


def test_a_job_is_cloned_with_changes(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.DONE}")
    page.get_by_role("link", name="Clone").click()
    text = page.get_by_label("Specification")
    expect(text).to_have_value(json.dumps(data.spec("smollm2-nash-lambda-1-2"), indent=2).replace("3.0", "3"))
    text.fill(text.input_value().replace('"rank": 16', '"rank": 8'))
    changes = page.get_by_label("Changes", exact=True)
    expect(changes).to_contain_text("lora.rank16 → 8")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_label("Plan")).to_contain_text("reserves3.5 CPU")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="smollm2-nash-lambda-1-2")).to_be_visible()
    assert world.bodies[-1]["spec"]["lora"] == {"rank": 8}
    assert world.bodies[-1]["labels"] == {"team": "truth"}


def test_a_check_may_take_as_long_as_the_service_gives_it(open_page: Open) -> None:
    page = open_page("/new")
    page.evaluate(
        "() => { const real = AbortSignal.timeout.bind(AbortSignal); window.waits = [];"
        "AbortSignal.timeout = ms => { window.waits.push(ms); return real(ms); }; }"
    )
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_label("Plan")).to_be_visible()
    assert max(page.evaluate("() => window.waits")) > 1000 * Settings().checks.seconds


def test_a_specification_that_is_wrong_says_where(open_page: Open, world: World) -> None:
    page = open_page("/new")
    page.get_by_label("Specification").fill("{")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not JSON")
    assert world.posts == []
    page.get_by_label("Specification").fill("{}")
    errors = [{"pointer": "/body/spec/name", "code": "missing", "detail": "is missing"}]
    world.refusal = problem(422, "bad_spec", "Wrong specification", "1 field is wrong.", errors)
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("alert")).to_contain_text("/body/spec/name")


def test_a_job_that_is_over_is_deleted_with_or_without_its_run(open_page: Open, world: World) -> None:
    page = open_page(f"/jobs/{data.DONE}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_label("Its run folder too: checkpoints, adapter, report").check()
    page.get_by_role("button", name="Delete the job").click()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(5)
    assert [path for path, _ in world.posts] == [f"/v1/jobs/{data.DONE}?run=true"]
    page.goto(f"{world.url}#/jobs/{data.RUNNING}")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)


def test_a_key_that_only_reads_is_offered_no_change(open_page: Open, world: World) -> None:
    world.scopes = ("read",)
    page = open_page()
    expect(page.locator("tbody tr")).to_have_count(6)
    expect(page.get_by_role("link", name="New job")).to_have_count(0)
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["Jobs", "Datasets"])
    page.get_by_role("link", name="Datasets").click()
    expect(page.get_by_text("chat-june")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    for job in (data.FAILED, data.RUNNING):
        page.goto(f"{world.url}#/jobs/{job}")
        expect(page.get_by_role("heading", name="Details")).to_be_visible()
        expect(page.locator(".head.job .actions > *")).to_have_count(0)
    page.goto(f"{world.url}#/audit")
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()


def test_an_admin_sees_datasets_keys_and_the_audit_log(open_page: Open, world: World) -> None:
    page = open_page()
    page.get_by_role("link", name="Datasets").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("Filter").fill("july")
    expect(rows).to_have_count(1)
    rows.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the dataset").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("link", name="Keys").click()
    expect(rows.filter(has_text="ben")).to_contain_text("revoked")
    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("link", name="Audit log")).to_have_attribute("aria-current", "page")
    expect(rows).to_contain_text([data.RUNNING])
    assert [path for path, _ in world.posts] == ["/v1/datasets/ds-2"]


def test_the_log_is_searched_by_words_and_level(open_page: Open) -> None:
    page = open_page(f"/jobs/{data.RUNNING}")
    shown = page.get_by_role("log").locator(".lines > div:visible")
    expect(shown).to_have_count(40)
    expect(shown.first.locator("time")).to_have_text("2026-01-05 10:00:01")
    page.get_by_label("Level").select_option("warning")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text("clamped to 0.61")
    page.get_by_label("Level").select_option("")
    page.get_by_label("Search the log").fill("STEP 3")
    expect(page.get_by_text("11 of 40 lines")).to_be_visible()
