"""A question set, logs and answers to it, and the three ways in which they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_tokenizer
from trialign_ray.config.game import GroupSet, QuestionSet
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import read_logs
from trialign_ray.data.importers import ImportReport, import_logs, validate_sources
from trialign_ray.data.normalisation import Completion
from trialign_ray.data.scoring import QuestionScorer
from trialign_ray.entrypoints.audit.answer_file import answers_of_file
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.errors import RowError, RowProblem
from trialign_ray.models.chat_tokens import ChatTokens

from .samples import GROUPS

Row = dict[str, Any]

ASKED = {
    "earth": ("Which mountain is the highest above the sea?", "Everest", "train"),
    "japan": ("Which mountain is the highest of Japan?", "Fuji", "train"),
    "africa": ("Which mountain is the highest of Africa?", "Kilimanjaro", "heldout"),
}
QUESTIONS = QuestionSet.model_validate(
    {
        "name": "mountains",
        "vocabularies": {"mountains": {name: [] for _, name, _ in ASKED.values()}},
        "questions": [
            {"question_id": key, "text": text, "references": [name], "split": split, "topic": "peaks"}
            | {"verifier": "vocabulary", "vocabulary": "mountains"}
            for key, (text, name, split) in ASKED.items()
        ]
        + [{"question_id": "taste", "text": "Which mountain do you like?", "kind": "subjective", "split": "train"}],
    }
)
TEXTS = {question.question_id: question.text for question in QUESTIONS.questions}
GROUP_SET = GroupSet.model_validate({"groups": [{"name": name} for name in GROUPS]})


def file_of(folder: Path, rows: list[Row], name: str = "rows.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(folder / name)


def chat(question: str, group: str, said: str, system: str = "Help.", **fields: Any) -> Row:
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": TEXTS[question]},
        {"role": "assistant", "content": said},
    ]
    return {"question_id": question, "group": group, "messages": messages, **fields}


def answer(question: str, said: str, **fields: Any) -> list[Row]:
    """A response of every group, as an assistant behind an API gives it."""
    return [{"question_id": question, "group": group, "response": said, **fields} for group in GROUPS]


def completion(ignore: tuple[str, ...] = (), paths: dict[str, str] | None = None) -> Completion:
    return Completion(QuestionScorer(QUESTIONS), ChatTokens(tiny_tokenizer()), frozenset(ignore), paths or {})


def imported(folder: Path, rows: list[Row], *options: Any, copies: int = 1, **settings: Any) -> ImportReport:
    return import_logs([file_of(folder, rows)] * copies, folder / "logs", completion(*options), **settings)


def written(folder: Path, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of what was imported."""
    table = read_logs(folder / "logs", columns=columns)
    return list(zip(*(table[name].to_pylist() for name in columns), strict=True))


def audited(folder: Path, rows: list[Row], **fields: Any) -> AuditedAnswers:
    spec = AuditSpec.model_validate(
        {"name": "a", "answers": file_of(folder, rows), "questions": "q.json", "groups": "g.yaml", "split": "all"}
        | fields
    )
    return answers_of_file(str(spec.answers), spec, QUESTIONS, GROUP_SET)


def problems(folder: Path, rows: list[Row]) -> list[RowProblem]:
    """What import, validation and audit say of the rows: the same of all three."""
    validation = validate_sources([file_of(folder, rows)], completion())
    with pytest.raises(RowError) as refused:
        imported(folder, rows, strict=True)
    with pytest.raises(RowError) as unaudited:
        audited(folder, rows)
    assert refused.value.problems == unaudited.value.problems == list(validation.problems)
    return refused.value.problems
