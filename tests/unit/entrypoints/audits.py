"""Answers to the tiny world's questions, and the specification of their audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.world import CAPITALS, World
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.evaluation.figures import Figure
from trialign_ray.progress import Silent

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


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)
