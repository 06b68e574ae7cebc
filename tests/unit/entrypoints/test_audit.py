"""The truth report of answers that were given already, and of a model that is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model

from tests.world import CAPITALS, World
from trialign_ray.config.base import content_sha256, load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.data.validation import validate_logs
from trialign_ray.entrypoints.audit import audit
from trialign_ray.errors import DataError, ModelError, RowError, SpecError
from trialign_ray.evaluation.figures import Figure
from trialign_ray.evaluation.report.report import from_json
from trialign_ray.inference.base import Generated
from trialign_ray.models.loading import adapter_hash, chat_tokens, load_model
from trialign_ray.progress import Silent
from trialign_ray.trainer.policy import adapt

GROUPS = ("neutral", "farmer", "professor")
QUESTIONS = {f"{index}-{country}": city for index, (country, city) in enumerate(CAPITALS.items())}
Row = dict[str, Any]


def given() -> list[Row]:
    """Four questions, three groups: the professor is told another city than the others about half of them."""
    return [
        {"question_id": question_id, "group": group, "response": f"It is {said(group, index, city).title()}."}
        for index, (question_id, city) in enumerate(QUESTIONS.items())
        for group in GROUPS
    ]


def said(group: str, index: int, city: str) -> str:
    return "cairo" if group == "professor" and index < 2 else city


def spec(world: World, tmp_path: Path, **changes: Any) -> AuditSpec:
    fields: Row = {"name": "a", "questions": world.questions, "groups": world.groups, "runs": str(tmp_path / "runs")}
    split = "heldout" if "model" in changes else "train"
    return AuditSpec.model_validate(fields | {"bootstrap": 100, "split": split} | changes)


def answers(tmp_path: Path, rows: list[Row]) -> str:
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "answers.jsonl")


def value(figure: Figure | None) -> float:
    assert figure is not None
    return figure.value


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


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


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


def test_a_model_is_asked_the_split_and_its_answers_are_kept(world: World, tmp_path: Path) -> None:
    report = audit(spec(world, tmp_path, model=world.model, samples=2, max_new_tokens=6))
    path = tmp_path / "runs" / "a" / "answers"
    rows = read_logs(path).to_pylist()
    assert validate_logs(path).ok
    assert {row["question_id"] for row in rows} == {"4-peru", "5-kenya"}
    assert len(rows) == 2 * len(GROUPS) * 2
    assert (report.audit.questions, report.audit.samples) == (2, 2)
    assert {row["model_hash"] for row in rows} == {report.run["model_hash"]}


@pytest.fixture
def adapter(world: World, tmp_path: Path) -> Path:
    """A PEFT adapter that changes the model."""
    policy = adapt(load_model(world.model, "float32", "eager"), LoraSpec(rank=4), LearnerSpec(), seed=1)
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.5)
    policy.model.save_pretrained(str(tmp_path / "adapter"), safe_serialization=True)
    return tmp_path / "adapter"


def test_a_model_with_an_adapter_is_audited_and_both_are_named(world: World, tmp_path: Path, adapter: Path) -> None:
    plain = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    adapted = audit(spec(world, tmp_path, name="b", model=world.model, adapter=str(adapter), max_new_tokens=6))
    assert adapted.run["model_hash"] == plain.run["model_hash"]
    assert (adapted.run["adapter_hash"], plain.run["adapter_hash"]) == (adapter_hash(adapter), None)
    answers = [read_logs(tmp_path / "runs" / name / "answers")["response_ids"] for name in ("a", "b")]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_that_is_not_whole_is_refused_before_the_first_answer(
    world: World, tmp_path: Path, adapter: Path, file: str
) -> None:
    (adapter / file).unlink()
    engine = {"name": "import_path", "import_path": f"{__name__}:Refusing"}
    with pytest.raises(ModelError, match=rf"field 'adapter': .*no {file}"):
        audit(spec(world, tmp_path, model=world.model, adapter=str(adapter), generator=engine))


class Refusing:
    """An engine that must not be asked."""

    def load(self, *_: object) -> Any:
        raise AssertionError("a model was loaded")


@dataclass
class Parrot:
    """An engine of the user's own: whatever is asked, it answers one word."""

    word: str

    def load(self, model: Path, adapter: Path | None, dtype: str, device: str) -> Parrot:
        self.ids = chat_tokens(model).response(self.word)
        return self

    def generate(self, prompts: Any, seeds: Any, sampling: Any, stop_ids: Any, on_progress: Any = None) -> Any:
        response = Generated(self.ids, [0.0] * len(self.ids), finished=True)
        return [[response] * sampling.samples for _ in prompts]


def test_an_engine_of_the_users_own_is_named_by_import_path(world: World, tmp_path: Path) -> None:
    engine = {"name": "import_path", "import_path": f"{__name__}:Parrot", "options": {"word": "lima"}}
    found = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6, generator=engine))
    assert set(read_logs(tmp_path / "runs" / "a" / "answers")["response"].to_pylist()) == {"lima"}
    assert value(found.audit.accuracy_mean) == 0.5


def test_a_dataset_of_answers_gives_the_figures_of_the_audit_that_made_it(world: World, tmp_path: Path) -> None:
    first = audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    again = audit(spec(world, tmp_path, name="b", answers=str(tmp_path / "runs" / "a" / "answers"), split="heldout"))
    assert again.audit == first.audit


def test_options_are_scored_where_nothing_is_generated(world: World, tmp_path: Path) -> None:
    report = audit(spec(world, tmp_path, model=world.model, read="score", split="all"))
    found, folder = report.audit, tmp_path / "runs" / "a"
    assert (report.run["read"], report.run["dtype"], report.run["adapter_hash"]) == ("score", "float32", None)
    assert found.closed_set is not None
    assert (found.closed_set.fewest_options, found.closed_set.chance) == (4, 0.25)
    assert (found.named, found.refusal_by_group, found.preference) == (None, None, None)
    scored = pq.read_table(folder / "options.parquet").to_pylist()
    assert len(scored) == found.questions * len(GROUPS) * 4
    for given in read_logs(str(folder / "answers")).to_pylist():
        cell = [row for row in scored if (row["question_id"], row["group"]) == (given["question_id"], given["group"])]
        assert given["response"] == max(cell, key=lambda row: row["logprob"])["option"]
        assert given["reward_truth"] == (given["answer"] == given["references"][0])
    assert validate_logs(str(folder / "answers")).ok


def test_chance_is_that_of_a_right_option_where_several_are_right(world: World, tmp_path: Path) -> None:
    question = {"question_id": "q", "text": "Why?", "references": ["lima", "oslo"], "split": "heldout"}
    questions = tmp_path / "several.yaml"
    questions.write_text(
        yaml.safe_dump({"name": "s", "questions": [question | {"options": ["lima", "oslo", "cairo"]}]})
    )
    report = audit(spec(world, tmp_path, model=world.model, read="score", questions=str(questions)))
    assert report.audit.closed_set is not None
    assert report.audit.closed_set.chance == pytest.approx(2 / 3)


def test_every_group_chooses_among_the_same_options(world: World, tmp_path: Path) -> None:
    audit(spec(world, tmp_path, model=world.model, read="score", split="all", options=3))
    offered: dict[str, set[tuple[str, ...]]] = {}
    cells: dict[tuple[str, str], list[str]] = {}
    for row in pq.read_table(tmp_path / "runs" / "a" / "options.parquet").to_pylist():
        cells.setdefault((row["question_id"], row["group"]), []).append(row["option"])
    for (question_id, _), texts in cells.items():
        offered.setdefault(question_id, set()).add(tuple(texts))
    assert {len(sets) for sets in offered.values()} == {1}
    assert {len(texts) for texts in cells.values()} == {3}


@pytest.mark.parametrize(
    "gate", ["named<0.5", "language_drift_by_group.farmer>0.1", "preference_by_group.farmer<1", "hypervolume<1"]
)
def test_a_gate_on_form_is_refused_before_options_are_scored(gate: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"(?s)field 'fail_if'.*have no"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), read="score", fail_if=[gate]))


@pytest.mark.parametrize("gate", ["contradiction_excess>0.1", "disagreement_excess.low>0"])
def test_a_gate_on_several_samples_is_refused_before_the_one_is_asked(gate: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"(?s)field 'fail_if'.*one response"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), fail_if=[gate]))


@pytest.mark.parametrize("read", ["score", "generate"])
def test_a_device_that_is_not_there_is_refused_before_the_model_is_loaded(
    read: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"field 'device'.*finds no CUDA device"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), read=read, device="cuda"))


def test_questions_without_options_are_refused_before_the_model_is_loaded(world: World, tmp_path: Path) -> None:
    questions = tmp_path / "open.yaml"
    questions.write_text(
        yaml.safe_dump({"name": "o", "questions": [{"question_id": "q", "text": "Why?", "references": ["so"]}]})
    )
    with pytest.raises(DataError, match=r"field 'questions'.*no question of split 'heldout' has options to score"):
        audit(spec(world, tmp_path, model=str(tmp_path / "none"), read="score", questions=str(questions)))


REFUSING = {"name": "import_path", "import_path": f"{__name__}:Refusing"}


def test_groups_that_ask_in_the_same_words_are_refused_before_a_model_is_loaded(world: World, tmp_path: Path) -> None:
    (tmp_path / "twins.yaml").write_text("groups:\n  - name: neutral\n  - name: twin\n")
    twins = spec(world, tmp_path, model=world.model, groups=str(tmp_path / "twins.yaml"), generator=REFUSING)
    with pytest.raises(DataError, match=r"field 'groups': .*'neutral' and 'twin' get the same prompt"):
        audit(twins)


def test_an_argument_that_the_chat_template_does_not_read_is_refused(world: World, tmp_path: Path) -> None:
    asked = spec(world, tmp_path, model=world.model, generator=REFUSING, chat_template_kwargs={"thinking": False})
    with pytest.raises(ModelError, match=r"field 'model': .*reads no argument 'thinking'"):
        audit(asked)


@pytest.mark.parametrize("kind", [{"use_dora": True}, {"use_rslora": True}], ids=["dora", "rslora"])
def test_adapters_of_other_kinds_are_audited(world: World, tmp_path: Path, kind: dict[str, Any]) -> None:
    torch.manual_seed(3)
    module: Any = load_model(world.model, "float32")
    adapted = get_peft_model(module, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **kind))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    adapted.save_pretrained(str(tmp_path / "adapter"))
    audit(spec(world, tmp_path, model=world.model, max_new_tokens=6))
    found = audit(
        spec(world, tmp_path, name="b", model=world.model, adapter=str(tmp_path / "adapter"), max_new_tokens=6)
    )
    assert found.run["adapter_hash"] == adapter_hash(tmp_path / "adapter")
    answers = [read_logs(tmp_path / "runs" / name / "answers")["response_ids"] for name in ("a", "b")]
    assert answers[0] != answers[1]


def test_the_report_is_split_by_cue(world: World, tmp_path: Path) -> None:
    groups: dict[str, list[Row]] = {"groups": [{"name": "neutral"}, {"name": "farmer", "persona": "a farmer ."}]}
    groups["groups"].append({"name": "professor", "cue": {"kind": "name", "name": "professor"}})
    (tmp_path / "cues.json").write_text(json.dumps(groups))
    report = audit(spec(world, tmp_path, model=world.model, groups=str(tmp_path / "cues.json"), max_new_tokens=6))
    assert [(row.cue, row.groups) for row in report.by_cue["audit"]] == [
        ("persona", ("farmer",)),
        ("name", ("professor",)),
    ]
