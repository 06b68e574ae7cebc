"""The report of whatever is finished: means over seeds, pairs of seeds in contrasts, and what training left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.unit.entrypoints.compare.samples import compare_spec
from tests.unit.entrypoints.compare.test_cells import finish
from tests.unit.evaluation.comparison.test_measured import table
from tests.world import World
from trialign_ray.config.compare import CompareSpec, Contrast
from trialign_ray.entrypoints.compare.cells import reference_cells, trained_cells
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.entrypoints.compare.registered import register
from trialign_ray.entrypoints.compare.report import comparison, differences
from trialign_ray.errors import DataError, SpecError
from trialign_ray.evaluation.comparison.markdown import to_markdown
from trialign_ray.evaluation.comparison.model import ArmRow, Comparison
from trialign_ray.evaluation.comparison.page import to_html
from trialign_ray.evaluation.comparison.written import differences_table
from trialign_ray.evaluation.figures import MaybeFigure

WRONG, MIXED, RIGHT = ["b", "b", "b"], ["a", "b", "a"], ["a", "a", "a"]


@pytest.fixture
def spec(world: World, tmp_path: Path) -> CompareSpec:
    contrast = {"name": "main", "of": "ours", "against": "sft", "figure": "closed.everyone", "regime": "all"}
    return compare_spec(
        world,
        tmp_path,
        references=["base", "neutral_to_all", "vote"],
        seeds=[0, 1, 2],
        regimes={
            "all": {"predicted": "Nothing wins: no model is asked.", "logs": {"without_groups": ["farmer", "nurse"]}}
        },
        contrasts=[
            contrast,
            contrast | {"name": "base", "against": "base", "figure": "free.accuracy"},
            contrast | {"name": "left out", "against": "base", "figure": "closed.accuracy", "unseen": True},
        ],
    )


def reported(spec: CompareSpec) -> Comparison:
    """All but the last seed of sft is finished."""
    register(spec, CompareFolder.of(spec))
    answers = {("ours", 0): [RIGHT, RIGHT], ("ours", 1): [RIGHT, MIXED], ("ours", 2): [RIGHT, WRONG]}
    answers |= {("sft", 0): [RIGHT, WRONG], ("sft", 1): [WRONG, WRONG]}
    (base,) = reference_cells(spec)
    finish(spec, base, table([MIXED, WRONG]).append_column("tokens", [[4] * 12]))
    for cell in trained_cells(spec, {}):
        if (cell.arm, cell.seed) in answers:
            finish(spec, cell, table(answers[cell.arm, cell.seed]).append_column("tokens", [[4] * 12]))
    return comparison(spec, CompareFolder.of(spec), {})


def rows(found: Comparison) -> dict[str, ArmRow]:
    return {row.arm: row for row in found.regimes[0].rows}


def value(row: ArmRow, figure: str) -> float:
    found = row.figures[figure]
    assert found is not None
    return found.value


def test_figures_are_means_over_the_seeds_that_are_finished(spec: CompareSpec):
    by_arm = rows(reported(spec))
    assert value(by_arm["ours"], "closed.everyone") == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert value(by_arm["sft"], "closed.everyone") == pytest.approx((0.5 + 0) / 2)
    assert [(by_arm[arm].seeds, by_arm[arm].missing) for arm in ("ours", "sft")] == [((0, 1, 2), 0), ((0, 1), 1)]


def test_a_seed_that_was_planned_cannot_be_dropped(spec: CompareSpec):
    whole, folder = reported(spec), CompareFolder.of(spec)
    lucky = comparison(spec.model_copy(update={"seeds": (0,)}), folder, {})
    assert [row.seeds for row in rows(lucky).values()] == [row.seeds for row in rows(whole).values()]
    assert rows(lucky)["sft"].missing == 1
    register(spec.model_copy(update={"seeds": (0, 3)}), folder)
    assert rows(comparison(spec, folder, {}))["sft"].missing == 2


def test_means_are_told_apart_by_seed_and_by_topic(spec: CompareSpec):
    by_arm = rows(reported(spec))
    assert by_arm["ours"].by_seed["closed.everyone"] == {0: 1, 1: 0.5, 2: 0.5}
    assert by_arm["sft"].by_seed["closed.everyone"] == {0: 0.5, 1: 0}
    assert by_arm["base"].by_seed == {}
    assert by_arm["ours"].by_topic == {"t0": 1, "t1": pytest.approx(1 / 3)}
    assert by_arm["sft"].by_topic == {"t0": 0.5, "t1": 0}


def test_the_vote_and_the_neutral_answer_are_served_of_the_base(spec: CompareSpec):
    by_arm = rows(reported(spec))
    assert value(by_arm["vote"], "free.everyone") == value(by_arm["neutral_to_all"], "free.everyone") == 0.5
    assert [(by_arm[arm].calls, by_arm[arm].tokens) for arm in ("neutral_to_all", "vote")] == [(1, 4), (3, 12)]


def test_a_contrast_pairs_the_seeds_that_both_have_finished(spec: CompareSpec):
    main, base, left_out = reported(spec).contrasts
    assert main.difference is not None
    assert main.seeds == 2
    assert main.difference.value == pytest.approx((0.5 + 0.5) / 2)
    assert base.difference is not None
    assert base.seeds == 3
    assert base.difference.value == pytest.approx((1 + 5 / 6 + 0.5) / 3 - 2 / 6)
    assert left_out.difference is not None
    assert left_out.difference.value == pytest.approx((1 + 0.75 + 0.5) / 3 - 0.25)
    assert all(row.p is not None and row.p_holm is not None and row.p_holm >= row.p for row in (main, base, left_out))


def by_subject(spec: CompareSpec) -> CompareSpec:
    return spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"cluster": "subject"})})


def asked(answers: Sequence[Sequence[str | None]]) -> pa.Table:
    """Each question four times, under ids that end with the same subject."""
    ids = [f"{kind}-{q}" for q in range(len(answers)) for kind in ("capital", "city", "country", "money")]
    said = table([each for each in answers for _ in range(4)]).append_column("tokens", [[4] * 24 * len(answers)])
    named = pa.array([ids[int(name[1:])] for name in said["question_id"].to_pylist()])
    return said.set_column(said.schema.get_field_index("question_id"), "question_id", named)


def test_subjects_are_drawn_in_place_of_questions_where_the_file_says_so(spec: CompareSpec):
    (base,), (first, *_) = reference_cells(spec), trained_cells(spec, {})
    finish(spec, base, asked([MIXED, WRONG] * 5))
    finish(spec, first, asked([RIGHT, MIXED, RIGHT, WRONG, MIXED] * 2))
    apart, together = (comparison(each, CompareFolder.of(each), {}) for each in (spec, by_subject(spec)))
    assert (apart.subjects, together.subjects) == ({}, {"free": 10, "closed": 10})
    for one, other in zip(apart.contrasts[1:], together.contrasts[1:], strict=True):
        assert twice_as_wide(one.difference, other.difference)
    for figures in ("figures", "unseen"):
        one, other = (getattr(rows(each)["ours"], figures)["closed.accuracy"] for each in (apart, together))
        assert twice_as_wide(one, other)
    assert "40 questions closed about 10 subjects" in to_markdown(together)
    page = to_html(together)
    assert "40 questions about 10 subjects in the closed reading" in page
    assert "bootstrap over subjects and seeds" in page
    assert "subjects" not in to_markdown(apart)


def twice_as_wide(one: MaybeFigure, other: MaybeFigure) -> bool:
    """Four answers that are one: the root of four, within what 100 resamples tell."""
    assert one is not None
    assert other is not None
    assert one.value == other.value
    return 1.5 < (other.high - other.low) / (one.high - one.low) < 2.7


def test_an_arm_without_free_answers_has_closed_figures_alone(spec: CompareSpec):
    (base,), (first, *_) = reference_cells(spec), trained_cells(spec, {})
    finish(spec, base, table([MIXED, WRONG]).append_column("tokens", [[4] * 12]))
    closed = table([RIGHT, RIGHT]).append_column("tokens", [[4] * 12])
    finish(spec, first, closed.filter(pc.equal(closed["reading"], "closed")))
    row = rows(comparison(spec, CompareFolder.of(spec), {}))["ours"]
    assert value(row, "closed.everyone") == 1
    assert "free.everyone" not in row.figures
    assert row.figures["free.vote_gain"] is None


def test_a_difference_may_be_asked_afterwards_and_is_in_no_report(spec: CompareSpec):
    whole = reported(spec)
    asked = Contrast(name="late", of="ours", against="sft", figure="free.everyone", regime="all")
    (row,) = differences(spec, [asked])
    assert row.difference is not None
    assert row.difference.value == pytest.approx((0.5 + 0.5) / 2)
    assert (row.seeds, row.p_holm) == (2, None)
    assert differences_table([row]).rows[0][:3] == ("ours less sft", "all", "free.everyone")
    assert comparison(spec, CompareFolder.of(spec), {}) == whole
    with pytest.raises(SpecError, match="no arm 'theirs'"):
        differences(spec, [asked.model_copy(update={"of": "theirs"})])


def test_without_the_base_there_is_nothing_to_compare_with(spec: CompareSpec):
    with pytest.raises(DataError, match="the base has not been asked yet"):
        comparison(spec, CompareFolder.of(spec), {})
