from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.unit.evaluation.samples import GROUPS, random_grid, row, rows_of, table
from trialign_ray.evaluation.report.page import MOST_QUESTIONS, to_html
from trialign_ray.evaluation.report.report import audit_report, training_report
from trialign_ray.evaluation.stats.intervals import Bootstrap

FEW = Bootstrap(resamples=30)
ATTACK = "</blockquote><script>alert(1)</script><img src=x onerror='alert(2)'>"
VOID = {"meta", "input", "br", "img", "link"}


class Page(HTMLParser):
    """Collects tags, ids and addresses; checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attributes}
        self.tags.append(tag)
        self.ids += [named["id"]] if "id" in named else []
        self.addresses += [named[key] for key in ("src", "href", "xlink:href", "srcset", "action") if key in named]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def answers(seed: int, questions: int = 12):
    return table(rows_of(random_grid(np.random.default_rng(seed), questions, (0.7, 0.5, 0.3))))


@pytest.fixture(scope="module")
def page():
    return to_html(training_report(answers(0), answers(1), GROUPS, {"name": "demo", "seed": 0}, FEW))


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    found = Page(page)
    assert len(found.ids) == len(set(found.ids))
    assert found.tags.count("svg") == 5  # accuracy, everyone, gap, two of agreement; nobody has a preference
    assert {address.removeprefix("#") for address in found.addresses if address.startswith("#")} <= set(found.ids)


def test_the_changes_of_the_gap_and_the_worst_group_have_a_p_and_no_other_has():
    report = training_report(answers(0), answers(1), GROUPS, {}, FEW)
    tiles = re.findall(r'<article class="card tile">.*?</article>', to_html(report), re.DOTALL)
    told = {re.findall("<h2>(.*?)</h2>", tile)[0]: re.findall(r", (p = [\d.]+)\)", tile) for tile in tiles}
    assert told.pop("Gap") == [f"p = {report.difference.gap_p.value:.3f}"]
    assert told.pop("Worst group") == [f"p = {report.difference.accuracy_worst_p.value:.3f}"]
    assert set(map(tuple, told.values())) == {()}


def test_the_page_asks_for_nothing_from_outside(page):
    outside = [address for address in Page(page).addresses if not address.startswith("#")]
    assert outside == ["https://arxiv.org/abs/2606.01755"]  # a link that a reader may follow
    assert not re.search(r"url\((?!#)|@import|<script|<link|<iframe", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("field", ["response", "answer", "question", "topic"])
def test_untrusted_text_is_escaped(field):
    wrong = {"answer": ATTACK, "response": "x"} if field == "answer" else {field: ATTACK}
    rows = [row("q", "neutral", "A", **({} if field == "answer" else wrong)), row("q", "nurse", "B", **wrong)]
    text = to_html(audit_report(table(rows), GROUPS[:2], {}, FEW))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not {"script", "img"} & set(Page(text).tags)


def test_names_of_groups_and_facts_of_the_run_are_escaped():
    groups = ("neutral", "<script>$x_1$</script>")
    report = audit_report(
        table([row("q", group, "A") for group in groups]), groups, {"name": ATTACK, ATTACK: ATTACK}, FEW
    )
    text = to_html(report)
    assert not {"script", "img"} & set(Page(text).tags)
    assert "$x_1$" in text


def test_right_and_wrong_are_told_without_colour(page):
    assert "✓" in page
    assert "✗" in page
    assert ">right:</span>" in page
    assert ">wrong:</span>" in page


def test_both_colour_schemes_are_served_and_plots_follow_them(page):
    assert "prefers-color-scheme: dark" in page
    assert "var(--accent)" in page
    assert "#0102" not in page  # every stand-in colour of the plots is replaced


def test_the_page_says_that_it_is_a_reconstruction(page):
    assert "labelled reconstruction of TriAlign" in page
    assert "How to read this" in page


def test_answers_of_both_sides_are_shown():
    base, trained = ([row("q", "neutral", "A"), row("q", "nurse", said)] for said in ("B", "A"))
    trained[1] |= {"response": "Surely it is A."}
    text = to_html(training_report(table(base), table(trained), GROUPS[:2], {}, FEW))
    assert "<blockquote>It is B.</blockquote>" in text
    assert "<blockquote>Surely it is A.</blockquote>" in text
    assert "Right for everyone now" in text
    assert "1 of 2 right" in text


def test_only_so_many_questions_are_shown_and_the_page_says_so():
    grid = [("A", "B", "B")] * (MOST_QUESTIONS + 5)
    text = to_html(audit_report(table(rows_of(grid)), GROUPS, {}, FEW))
    assert text.count('<details class="card question') == MOST_QUESTIONS
    assert f"The first {MOST_QUESTIONS} are shown" in text


def test_groups_that_are_all_served_alike_make_a_page():
    text = to_html(audit_report(table(rows_of([("A", "A", "A")])), GROUPS, {}, FEW))
    assert "No question is right for one group and wrong for another." in text
    Page(text)


def test_every_kind_of_answer_is_written_out():
    rows = [row("q", group, said) for group, said in zip(GROUPS, "A~!", strict=True)]
    rows += [row("p", group, said) for group, said in zip(GROUPS, "A?A", strict=True)]
    text = to_html(audit_report(table(rows), GROUPS, {}, FEW))
    for kind in ("ambiguous", "refused", "no answer found"):
        assert f"<em>{kind}</em>" in text
    for column in ("Refused", "Ambiguous", "No answer found", "Other language"):
        assert f'<th scope="col">{column}</th>' in text


def test_responses_that_were_read_apart_are_shown_side_by_side():
    rows = [row("q", "neutral", "Bern"), row("q", "nurse", "?", response="BERN, <b>surely</b>"), row("q", "pupil", "A")]
    text = to_html(audit_report(table(rows), GROUPS, {}, FEW))
    assert "nurse: read otherwise" in text
    assert "<blockquote>BERN, &lt;b&gt;surely&lt;/b&gt;</blockquote>" in text
    assert "was read otherwise: 1 answer." in " ".join(text.split())


def test_contradictions_between_wrong_answers_are_listed():
    report = audit_report(table(rows_of([("B", "C", "B")])), GROUPS, {}, FEW)
    page = to_html(report)
    assert "No question is right for one group and wrong for another, but groups name different wrong answers" in page
    assert "nurse: C; pupil: B" in page
    assert report.contradictions[0].question_id == "q000"


@pytest.mark.parametrize(("questions", "opened"), [(12, True), (13, False)])
def test_a_long_table_of_contradictions_is_folded(questions, opened):
    page = to_html(audit_report(table(rows_of([("A", "C", "B")] * questions)), GROUPS, {}, FEW))
    assert ('<details class="fold" open>' in page) == opened
    assert f"<summary>{questions} questions and the answers named</summary>" in page


def test_tables_that_go_on_to_the_right_say_so(page):
    assert "scroll sideways for all 11 figures" in page


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ([("A", "A", "A")], "No group is served worse than another: each is right on"),
        ([("A", "B", "B")], "The groups that are served least well, nurse, pupil, are right on"),
        ([("A", "A", "B")], "The group that is served least well, pupil, is right on"),
    ],
)
def test_every_group_that_is_served_least_well_is_named(grid, told):
    assert told in to_html(audit_report(table(rows_of(grid)), GROUPS, {"wall_seconds": 1.228376}, FEW))


def test_seconds_are_rounded():
    page = to_html(audit_report(table(rows_of([("A", "A", "B")])), GROUPS, {"wall_seconds": 1.228376}, FEW))
    assert "1.228" in page
    assert "1.228376" not in page
