"""Civics, everyday knowledge and questions of taste, written for this project: YAML files, one list each."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from trialign_ray.bench.fact import Fact, fact, options_with
from trialign_ray.config.base import Strict
from trialign_ray.config.game import Question

SOURCE = "trialign-ray"


class WrittenFact(Strict):
    """One entry of a file."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    subject: str
    """Facts of one subject fall into one split."""
    text: str
    answer: str | tuple[str, ...]
    """The right answer, or several ways to name it."""
    wrong: tuple[str, ...] = ()
    """With these it is a choice."""
    number: bool = False
    misbelief: str = ""
    """A wrong answer of the right one's sort, where neither `wrong` nor a number beside it gives one."""


class WrittenTaste(Strict):
    """One entry of `personal.yaml`, which has no truth."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    subject: str
    topic: str
    """What the wishes of a group set are about."""
    text: str


_FACTS, _TASTES = TypeAdapter(tuple[WrittenFact, ...]), TypeAdapter(tuple[WrittenTaste, ...])


def tastes() -> Iterator[Fact]:
    """Subjective questions whose right form depends on who asks."""
    for row in _TASTES.validate_python(_rows("personal")):
        question = Question(
            question_id=f"personal-{row.id}", text=row.text, kind="subjective", topic=row.topic, source=SOURCE
        )
        yield Fact(f"personal-{row.subject}", question)


def facts(family: Literal["civics", "everyday"]) -> Iterator[Fact]:
    """The facts of one file."""
    for row in _FACTS.validate_python(_rows(family)):
        answers = (row.answer,) if isinstance(row.answer, str) else row.answer
        made = fact(
            row.id,
            family,
            row.text,
            answers,
            options=options_with(answers[0], row.wrong, 1 + len(row.wrong), row.id) if row.wrong else (),
            verifier="choice" if row.wrong else "number" if row.number else "open",
            topic=family,
            source=SOURCE,
        )
        yield Fact(f"{family}-{row.subject}", made.question.model_copy(update={"misbelief": row.misbelief}))


def _rows(name: str) -> Any:
    import yaml

    return yaml.safe_load((files(__package__) / "facts" / f"{name}.yaml").read_text(encoding="utf-8"))
