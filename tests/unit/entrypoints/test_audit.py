"""The truth report of answers that were given already."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from tests.unit.entrypoints.audits import GROUPS, QUESTIONS, Notes, Row, answers, given, spec, value
from tests.world import World
from trialign_ray.config.base import content_sha256, load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.entrypoints.audit import audit
from trialign_ray.errors import DataError, RowError, SpecError
from trialign_ray.evaluation.report.report import from_json


def test_answers_without_token_ids_are_scored_from_the_question_set(world: World, tmp_path: Path) -> None:
    found = audit(spec(world, tmp_path, answers=answers(tmp_path, given()))).audit
    accuracy = {group: value(figure) for group, figure in found.accuracy_by_group.items()}
    assert accuracy == {"neutral": 1.0, "farmer": 1.0, "professor": 0.5}
    assert (value(found.gap), value(found.correct_unanimity), value(found.breakage)) == (0.5, 0.5, 0.25)
    assert (found.questions, found.samples, found.worst_group) == (4, 1, "professor")


def test_the_report_lies_in_the_run_s_folder(world: World, tmp_path: Path) -> None:
    report = audit(spec(world, tmp_path, answers=answers(tmp_path, given()), seed=3))
    folder = tmp_path / "runs" / "a"
    assert from_json((folder / "report.json").read_text()) == report
    assert "professor" in (folder / "report.html").read_text()
    assert (report.run["name"], report.run["seed"]) == ("a", 3)
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.html"}


def test_a_report_says_what_was_asked(world: World, tmp_path: Path) -> None:
    asked = spec(world, tmp_path, answers=answers(tmp_path, given()))
    run = audit(asked).run
    assert AuditSpec.model_validate(run["specification"]) == asked
    assert run["questions_sha256"] == content_sha256(load_yaml(QuestionSet, world.questions))
    assert run["groups_sha256"] == content_sha256(load_yaml(GroupSet, world.groups))
    assert isinstance(run["versions"], dict)
    assert run["versions"]["torch"] == version("torch")


def test_an_answer_of_which_the_response_says_nothing_is_taken_from_the_row(world: World, tmp_path: Path) -> None:
    rows = [row | {"topic": "atlas", "answer": None} for row in given()]
    rows[0] |= {"response": "The capital you mean has no name.", "answer": "paris", "answer_kind": "entity"}
    found = audit(spec(world, tmp_path, answers=answers(tmp_path, rows)))
    assert value(found.audit.accuracy_by_group["neutral"]) == 1.0


def test_spellings_of_one_answer_agree(world: World, tmp_path: Path) -> None:
    judged = {"kind": "objective", "answer_kind": "entity", "reward_truth": 1.0}
    rows = [
        row | judged | {"answer": answer, "response": f"It is {answer}"}
        for row in given()
        for answer in [spelled(row["group"], QUESTIONS[row["question_id"]])]
    ]
    found = audit(spec(world, tmp_path, answers=answers(tmp_path, rows))).audit
    assert value(found.correct_unanimity) == value(found.agreement) == value(found.unanimity) == 1.0


def spelled(group: str, city: str) -> str:
    return (city.title(), city.upper(), f"the {city}.")[GROUPS.index(group)]


def test_only_the_answers_of_the_split_count_and_the_others_are_counted(world: World, tmp_path: Path) -> None:
    held_out = [
        {"question_id": question_id, "group": group, "response": "lima"}
        for question_id in ("4-peru", "5-kenya")
        for group in GROUPS
    ]
    path, notes = answers(tmp_path, given() + held_out), Notes()
    both = audit(spec(world, tmp_path, answers=path, split="all"))
    one = audit(spec(world, tmp_path, answers=path, split="heldout"), notes)
    assert (both.audit.questions, both.run["rows_left_out"]) == (6, 0)
    assert (one.audit.questions, one.run["rows_left_out"]) == (2, 12)
    assert {value(figure) for figure in one.audit.accuracy_by_group.values() if figure} == {0.5}
    assert notes.lines == ["12 rows left out: their questions are not of split 'heldout'"]


def test_answers_to_another_split_alone_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row answers a question of split 'heldout'\. Choose another"):
        audit(spec(world, tmp_path, answers=answers(tmp_path, given()), split="heldout"))


def test_a_whole_row_of_a_question_outside_the_set_is_refused(world: World, tmp_path: Path) -> None:
    collected = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    assert collected.audit.questions == 2
    fewer = yaml.safe_load(Path(world.questions).read_text())
    fewer["questions"] = fewer["questions"][:-1]
    (tmp_path / "fewer.yaml").write_text(yaml.safe_dump(fewer))
    dataset = str(tmp_path / "runs" / "a" / "answers")
    with pytest.raises(RowError, match=r"field 'question_id' is not in .*fewer\.yaml; add the question"):
        audit(spec(world, tmp_path, name="b", answers=dataset, questions=str(tmp_path / "fewer.yaml"), split="heldout"))


@pytest.mark.parametrize("source", ["answers", "model"])
def test_the_folder_of_a_training_run_is_refused_and_left_as_it_is(world: World, tmp_path: Path, source: str) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    for name in ("spec.json", "report.json"):
        (run / name).write_text(name)
    path = answers(tmp_path, given()) if source == "answers" else world.model
    with pytest.raises(DataError, match=r"runs/a: holds a training run.*another 'name'"):
        audit(spec(world, tmp_path, **{source: path}))
    assert {path.name: path.read_text() for path in run.iterdir()} == {n: n for n in ("spec.json", "report.json")}


def test_preferences_are_scored_where_the_rows_have_them(world: World, tmp_path: Path) -> None:
    brief = '{"rule":"max_words","words":3}'
    rows = [row | ({} if row["group"] == "neutral" else {"preference": brief}) for row in given()]
    found = audit(spec(world, tmp_path, answers=answers(tmp_path, rows))).audit
    assert value(found.preference) == 1.0
    assert found.flat()["preference_by_group.neutral"] is None


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"response": None}, "response", "is missing"),
        ({"response": 7}, "response", "is 7 (int)"),
        ({"question_id": "9-atlantis"}, "question_id", "is not in "),
        ({"question_id": ["9"]}, "question_id", "is ['9'] (list)"),
        ({"preference": "short please"}, "preference", "is not a preference rule"),
        ({"reward_truth": 2}, "reward_truth", "is 2"),
        ({"turn": 0}, "turn", "is 0"),
        ({"mood": "good"}, "mood", "is not a field of the log schema"),
    ],
)
def test_a_bad_row_is_named_by_file_row_field_and_reason(
    world: World, tmp_path: Path, change: Row, field: str, reason: str
) -> None:
    rows = given()
    rows[5] |= change
    with pytest.raises(RowError) as caught:
        audit(spec(world, tmp_path, answers=answers(tmp_path, rows)))
    path = str(tmp_path / "answers.jsonl")
    assert (path, 6, field) in [(problem.file, problem.row, problem.field) for problem in caught.value.problems]
    assert any(reason in problem.reason for problem in caught.value.problems if problem.field == field)
    assert {problem.row for problem in caught.value.problems} == {6}
    assert not (tmp_path / "runs").exists()


def test_a_line_that_is_no_json_is_named(world: World, tmp_path: Path) -> None:
    path = Path(answers(tmp_path, given()))
    path.write_text(path.read_text() + "{cut\n")
    with pytest.raises(RowError, match=r"answers\.jsonl:13: field '\(row\)' is not valid JSON"):
        audit(spec(world, tmp_path, answers=str(path)))


def test_a_group_that_is_not_in_the_group_set_is_refused(world: World, tmp_path: Path) -> None:
    rows = [*given(), given()[0] | {"group": "stranger"}]
    with pytest.raises(RowError, match="13: field 'group' is not one of the groups"):
        audit(spec(world, tmp_path, answers=answers(tmp_path, rows)))


@pytest.mark.parametrize(("rows", "said"), [(given()[1:], "no answer to"), ([], "no rows")])
def test_answers_that_are_not_complete_are_refused(world: World, tmp_path: Path, rows: list[Row], said: str) -> None:
    with pytest.raises(DataError, match=said):
        audit(spec(world, tmp_path, answers=answers(tmp_path, rows)))


def test_two_answers_to_one_question_are_samples_of_it(world: World, tmp_path: Path) -> None:
    assert audit(spec(world, tmp_path, answers=answers(tmp_path, given() + given()))).audit.samples == 2


def test_a_further_answer_is_named_with_the_first(world: World, tmp_path: Path) -> None:
    path = answers(tmp_path, [*given(), given()[1]])
    with pytest.raises(
        DataError, match=r"jsonl:13: second answer of group 'farmer' to question '0-france' \(first at .*jsonl:2\)"
    ):
        audit(spec(world, tmp_path, answers=path))


def test_a_field_to_ignore_that_no_row_has_is_refused(world: World, tmp_path: Path) -> None:
    path = answers(tmp_path, [row | {"mood": 1} for row in given()])
    audit(spec(world, tmp_path, answers=path, ignore=["mood"]))
    with pytest.raises(SpecError, match=r"field 'ignore': .*jsonl: no row has 'nothing'"):
        audit(spec(world, tmp_path, answers=path, ignore=["mood", "nothing"]))


def test_one_fault_of_many_rows_is_one_line_without_what_follows_from_it(world: World, tmp_path: Path) -> None:
    path = answers(tmp_path, [{"id": row["question_id"], "who": row["group"], "said": "Lima"} for row in given()])
    paths = {"question_id": "idd", "group": "who", "response": "said"}
    with pytest.raises(RowError) as caught:
        audit(spec(world, tmp_path, answers=path, map=paths, ignore=["id"]))
    *lines, fix = str(caught.value).splitlines()
    assert len(lines) == 1
    assert "jsonl:1: field 'question_id' is missing: the row has nothing at 'idd'" in lines[0]
    assert lines[0].endswith("(12 rows)")
    assert "--map FIELD=PATH" in fix


def test_an_unknown_question_is_named_and_so_is_an_empty_file(world: World, tmp_path: Path) -> None:
    path = answers(tmp_path, [given()[0] | {"question_id": "9-atlantis"}])
    with pytest.raises(RowError, match="'9-atlantis'"):
        audit(spec(world, tmp_path, answers=path))
    with pytest.raises(DataError, match=r"field 'answers': .*answers\.jsonl: no rows"):
        audit(spec(world, tmp_path, answers=answers(tmp_path, [])))


def test_a_fault_of_the_question_set_is_not_one_of_the_answers(world: World, tmp_path: Path) -> None:
    sums = {"question_id": "sum", "text": "1 + 1 ?", "verifier": "number", "references": ["many"]}
    (tmp_path / "q.yaml").write_text(yaml.safe_dump({"name": "q", "questions": [sums]}))
    with pytest.raises(DataError, match="field 'questions': "):
        audit(spec(world, tmp_path, answers=answers(tmp_path, given()), questions=str(tmp_path / "q.yaml")))


def test_responses_that_hold_nothing_are_a_class_of_their_own(world: World, tmp_path: Path) -> None:
    rows = given()
    rows[1] |= {"response": ""}
    rows[4] |= {"response": "<think>Well.</think>\n"}
    rows[7] |= {"response": "<think>It is Cairo"}
    rows[10] |= {"response": "Somewhere by the river."}
    found = audit(spec(world, tmp_path, answers=answers(tmp_path, rows))).audit
    empty, unextracted = found.empty_by_group or {}, found.unextracted_by_group or {}
    assert (value(empty["farmer"]), value(unextracted["farmer"])) == (0.5, 0.5)
    assert (value(empty["neutral"]), value(unextracted["neutral"])) == (0, 0)


def test_without_a_closing_tag_nothing_is_read_where_the_prompt_opened_one(world: World, tmp_path: Path) -> None:
    rows = [row | {"response": f"hm {row['response']}"} for row in given()]
    rows[0] |= {"response": "So Lima?</think>Paris."}
    found = audit(spec(world, tmp_path, answers=answers(tmp_path, rows), opens="<think>")).audit
    assert value((found.named_by_group or {})["neutral"]) == 0.25
    assert value((found.named_by_group or {})["farmer"]) == 0


def test_a_tag_that_the_question_set_lacks_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"field 'opens': '<hmm>' opens no reasoning by 'reasoning_tags'.*<think>"):
        audit(spec(world, tmp_path, answers=answers(tmp_path, given()), opens="<hmm>"))
