from __future__ import annotations

import pytest

from trialign_ray.config.game import Group, GroupSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.errors import GateError, SpecError
from trialign_ray.evaluation.gates import check_gates, gates_of, known_metrics, parse_gates, unmeasurable
from trialign_ray.evaluation.metrics import audit
from trialign_ray.evaluation.stats.intervals import Bootstrap

from .samples import GROUPS, answers_of

AUDIT = audit(answers_of([("A", "A", "A")] * 15 + [("A", "A", "B")] * 5), Bootstrap(resamples=200))  # gap .25


def check(*conditions: str) -> None:
    check_gates(parse_gates(conditions, GROUPS), AUDIT)


@pytest.mark.parametrize(
    "condition", ["gap>0.25", "gap < 0.25", "agreement<0.5", "gap.low<0.0", "gap.low>0.2", "gap>=.26", "gap<=2e-1"]
)
def test_a_condition_that_is_not_met_passes(condition):
    check(condition)
    assert parse_gates([condition], GROUPS)[0].metric in known_metrics(GROUPS)


@pytest.mark.parametrize(
    "condition",
    ["gap>0.24", "gap>=0.25", "gap<=0.25", "gap.high>0.3", "accuracy_by_group.pupil<0.8", "gap_null_p<0.05"],
)
def test_a_condition_that_is_met_fails(condition):
    with pytest.raises(GateError, match=r"1 of 1 gates failed:\n"):
        check(condition)


def test_every_failed_gate_is_listed_with_its_figure():
    with pytest.raises(GateError) as error:
        check("gap>0.05, agreement<0.5", "accuracy_worst<0.9")
    lines = str(error.value).splitlines()
    assert lines[0] == "2 of 3 gates failed:"
    assert lines[1].startswith("gap>0.05 (measured 0.25, interval ")
    assert lines[2].startswith("accuracy_worst<0.9 (measured 0.75, interval ")


@pytest.mark.parametrize("condition", ["gap", "gap=0.05", "gap>", ">0.05", "gap>0.05>0.01", "", "gap > 0.05 0.1"])
def test_what_is_not_a_condition_is_shown_one(condition):
    with pytest.raises(SpecError, match=r"for instance 'gap>0\.05'"):
        parse_gates([condition], GROUPS)


@pytest.mark.parametrize("number", ["much", "nan", "inf", "5%"])
def test_a_number_is_needed(number):
    with pytest.raises(SpecError, match=f"'{number}' is not a number"):
        parse_gates([f"gap>{number}"], GROUPS)


@pytest.mark.parametrize("name", ["gapp", "accuracy_by_group", "accuracy_by_group.stranger", "gap.middle", "notes"])
def test_an_unknown_metric_lists_the_known(name):
    with pytest.raises(SpecError, match=rf"no metric is named '{name}'\. Known: .*correct_unanimity.*pupil"):
        parse_gates([f"{name}>0"], GROUPS)


def test_a_metric_that_was_not_measured_does_not_pass_in_silence():
    with pytest.raises(SpecError, match=r"'preference' has no figure .*No response has a preference"):
        check("preference<0.5")


def test_every_metric_of_an_audit_can_be_gated():
    assert set(AUDIT.flat()) <= set(known_metrics(GROUPS))
    assert {name.split(".")[0] for name in known_metrics(GROUPS)} >= {"gap", "gap_null_p", "breakage", "hypervolume"}


def test_a_group_may_be_called_as_a_bound_is():
    groups = ("neutral", "low")
    found = audit(answers_of([("A", "B")] * 4, groups), Bootstrap(resamples=20))
    (gate,) = parse_gates(["accuracy_by_group.low<0.5"], groups)
    assert (gate.metric, gate.bound) == ("accuracy_by_group.low", "value")
    with pytest.raises(GateError, match=r"measured 0,"):
        check_gates([gate], found)


def test_the_longest_name_that_is_known_is_meant():
    groups = ("x", "x.low")
    names = ("accuracy_by_group.x.low<1", "accuracy_by_group.x.high<1", "accuracy_by_group.x.low.low<1")
    gates = [(gate.metric, gate.bound) for gate in parse_gates(names, groups)]
    assert gates == [
        ("accuracy_by_group.x.low", "value"),
        ("accuracy_by_group.x", "high"),
        ("accuracy_by_group.x.low", "low"),
    ]


NO_WISHES = GroupSet(groups=tuple(Group(name=name) for name in GROUPS))
OF_WISHES = ["preference", "preference_explicit", "preference_implicit", "preference_by_group.nurse", "hypervolume"]


@pytest.mark.parametrize("metric", ["contradiction_excess", "disagreement_excess", *OF_WISHES])
def test_a_gate_that_no_answer_could_give_a_figure_is_told(metric: str) -> None:
    gates = parse_gates([f"{metric}.low>0.1", "gap>0.1"], GROUPS)
    (told,) = unmeasurable(gates, NO_WISHES, samples=1)
    assert told.startswith(f"'{metric}.low>0.1': ")


def test_what_can_be_measured_is_not_refused() -> None:
    told = unmeasurable(parse_gates(["contradiction_excess>0", "named<1", "gap>0"], GROUPS), NO_WISHES, samples=2)
    assert told == []
    assert unmeasurable(parse_gates(["contradiction>0", "gap>0"], GROUPS), NO_WISHES, samples=1, scored=True) == []


@pytest.mark.parametrize("metric", ["named", *OF_WISHES])
def test_scored_options_have_no_form(metric: str) -> None:
    (told,) = unmeasurable(parse_gates([f"{metric}<1"], GROUPS), NO_WISHES, samples=1, scored=True)
    assert "scored options have no" in told


@pytest.mark.parametrize("condition", ["gap>5", "named<-0.1", "accuracy_by_group.nurse<95", "gap_null_p<1.5"])
def test_a_number_that_a_figure_never_has_is_refused(condition: str) -> None:
    with pytest.raises(SpecError, match=r"lies in 0 to 1\. Shares are written 0\.05, not 5\."):
        parse_gates([condition], GROUPS)


def test_differences_may_be_less_than_0() -> None:
    assert len(parse_gates(["drop_by_group.nurse<-0.1", "fleiss_kappa<-1", "gap>1"], GROUPS)) == 3
    with pytest.raises(SpecError, match="lies in -1 to 1"):
        parse_gates(["contradiction_excess>-2"], GROUPS)


def job(**source: str) -> AuditSpec:
    gates = ["contradiction_excess>0.1", "preference<0.5"]
    return AuditSpec(name="a", questions="q.yaml", groups="g.yaml", fail_if=gates, **source)


def test_a_file_tells_how_often_and_with_which_wishes_it_was_asked_only_when_it_is_read() -> None:
    assert [gate.metric for gate in gates_of(job(answers="rows.jsonl"), NO_WISHES)] == [
        "contradiction_excess",
        "preference",
    ]
    with pytest.raises(SpecError, match=r"field 'fail_if': 2 of 2 gates.*\n.*--samples 2.*\n.*'preferences'"):
        gates_of(job(model="m"), NO_WISHES)
