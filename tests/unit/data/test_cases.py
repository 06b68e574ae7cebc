"""Files as people bring them, in `cases`, with what is right for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_tokenizer
from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.data.importers import ImportReport, import_logs, validate_sources
from trialign_ray.data.normalisation import Completion
from trialign_ray.data.scoring import QuestionScorer
from trialign_ray.entrypoints.audit.answer_file import answers_of_file
from trialign_ray.models.chat_tokens import ChatTokens

CASES = Path(__file__).parent / "cases"
GROUPS = load_yaml(GroupSet, CASES / "groups.yaml")


def completion() -> Completion:
    scorer = QuestionScorer(load_yaml(QuestionSet, CASES / "q.yaml"))
    return Completion(scorer, ChatTokens(tiny_tokenizer()))


def imported(name: str, folder: Path) -> tuple[ImportReport, list[dict[str, Any]]]:
    report = import_logs([CASES / name], folder / "logs", completion(), groups=GROUPS.names)
    return report, read_logs(folder / "logs").to_pylist()


ASKED = {"role": "user", "content": "Which river flows through Cairo?"}


@pytest.mark.parametrize(
    ("name", "shape", "rows", "said"),
    [
        ("08_date_in_system_prompt.jsonl", "chat", 12, {("It is the Nile.", 1.0), ("It is the Rhine.", 0.0)}),
        ("09_openai_message_dump.jsonl", "chat", 1, {("It is the Nile.", 1.0)}),
        ("12_float_integers.jsonl", "chat", 6, {("It is the Nile.", 1.0)}),
        ("17_dpo.jsonl", "dpo", 2, {("The Nile.", 1.0), ("The Rhine.", 0.0)}),
        ("18_kto.jsonl", "kto", 2, {("The Nile.", 1.0), ("The Rhine.", 0.0)}),
        ("19_langfuse.jsonl", "langfuse", 1, {("The Nile.", 1.0)}),
    ],
)
def test_a_case_is_recognised_and_imported_whole(
    tmp_path: Path, name: str, shape: str, rows: int, said: set[tuple[str, float]]
) -> None:
    report, found = imported(name, tmp_path)
    assert (report.rows_imported, report.rows_rejected, list(report.shapes)) == (rows, 0, [shape])
    assert {(row["response"], row["reward_truth"]) for row in found} == said
    assert all(row["messages"][-1] == ASKED for row in found)
    keys = {(row["question_id"], row["group"], row["sample"]) for row in found}
    assert len(keys) == rows


def test_a_template_s_tokens_in_a_user_s_text_are_refused_with_the_reason() -> None:
    found = validate_sources([CASES / "16_template_tokens_in_user_text.jsonl"], completion(), groups=GROUPS.names)
    [fault] = found.problems
    assert (fault.row, fault.field, "holds '<|im_end|>'" in fault.reason) == (1, "messages", True)


@pytest.mark.parametrize("questions", ["11_q_escaped_emoji.json", "11_q_tabs.json"])
def test_a_question_set_in_json_is_read_as_json(questions: str) -> None:
    asked = load_yaml(QuestionSet, CASES / questions)
    answers = str(CASES / "11_answers.jsonl")
    given = {"name": "a", "answers": answers, "questions": questions, "groups": "g.yaml", "split": "all"}
    table = answers_of_file(answers, AuditSpec.model_validate(given), asked, GROUPS).table
    assert table["reward_truth"].to_pylist() == [1.0] * 3


def test_extra_columns_of_answers_are_ignored_by_name() -> None:
    answers = str(CASES / "10_answers_with_extra_columns.jsonl")
    given = {"name": "a", "answers": answers, "questions": "q", "groups": "g", "ignore": ["latency_ms", "model"]}
    asked = load_yaml(QuestionSet, CASES / "q.yaml")
    table = answers_of_file(answers, AuditSpec.model_validate(given), asked, GROUPS).table
    assert table["answer"].to_pylist() == ["Danube"] * 3
