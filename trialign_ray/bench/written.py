"""Civics and everyday knowledge, written for this project: YAML files beside this module, one list of facts each."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Literal

from pydantic import Field, TypeAdapter

from trialign_ray.bench.fact import Fact, fact, options_with
from trialign_ray.config.base import Strict

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


_FILE = TypeAdapter(tuple[WrittenFact, ...])


def facts(family: Literal["civics", "everyday"]) -> Iterator[Fact]:
    """The facts of one file."""
    import yaml

    text = (files(__package__) / "facts" / f"{family}.yaml").read_text(encoding="utf-8")
    for row in _FILE.validate_python(yaml.safe_load(text)):
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
        yield Fact(f"{family}-{row.subject}", made.question)
