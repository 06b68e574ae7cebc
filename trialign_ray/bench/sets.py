"""The question sets by name. A new one is an entry of SETS, and a module where its questions come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from trialign_ray.bench import elements, geography, loaded, names, puzzles, written
from trialign_ray.bench.fact import Fact, by_hash, split
from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.errors import SpecError
from trialign_ray.rewards.options import draw_options
from trialign_ray.rewards.verifiers import AnswerReader

Vocabularies = dict[str, dict[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class BenchSet:
    """One question set that can be made."""

    about: str
    questions: Callable[[], Iterable[Question]]
    licence: str
    needs: str
    """Where the questions come from when the set is made."""
    vocabularies: Callable[[], Vocabularies] = dict
    ids_name_subjects: bool = False
    """Whether `config.game.subject_of` tells from every id whom or what the question is about."""


def make(name: str) -> QuestionSet:
    """The question set `name`, with a wrong answer to believe in where one can be drawn.

    Raises SpecError for an unknown name, MissingExtraError, and DataError where a source cannot be had or differs.
    """
    if name not in SETS:
        raise SpecError(f"question set '{name}': is not known. `trialign bench list` names them all.")
    entry = SETS[name]
    return with_misbeliefs(
        QuestionSet(name=name, vocabularies=entry.vocabularies(), questions=tuple(entry.questions()))
    )


def refuse_unnamed_subjects(name: str, option: str) -> None:
    """Raises SpecError where the ids of question set `name` do not say what the questions are about."""
    if not SETS[name].ids_name_subjects:
        known = ", ".join(each for each, entry in SETS.items() if entry.ids_name_subjects)
        raise SpecError(
            f"{option}: question set '{name}': its ids do not say what a question is about. Make one of {known}, or "
            "leave the option out."
        )


def with_misbeliefs(made: QuestionSet) -> QuestionSet:
    """The set with a wrong answer to believe in wherever one can be drawn and none is written."""
    wrong = _misbeliefs(made)
    believed = (q.model_copy(update={"misbelief": q.misbelief or wrong.get(q.question_id, "")}) for q in made.questions)
    return made.model_copy(update={"questions": tuple(believed)})


def _misbeliefs(made: QuestionSet) -> dict[str, str]:
    """A wrong answer to each question with a truth, drawn by hash: one of its options, else the answer to one like it.

    Free answers of one topic are of many sorts, a colour and a planet, so these have what is written for them or none.
    """
    reader = AnswerReader(made)
    drawn = draw_options(made.questions, made, 2, seed=0).by_question
    wrong = {
        name: next(iter(by_hash((o.text for o in options if not o.right), f"misbelief-{name}")), "")
        for name, options in drawn.items()
    }
    answers: dict[tuple[str, str], list[str]] = {}
    for question in made.questions:
        answers.setdefault((question.topic, question.verifier), []).extend(question.references[:1])
    for question in made.questions:
        if question.kind == "objective" and question.verifier != "open" and not wrong.get(question.question_id):
            others = by_hash(answers[question.topic, question.verifier], f"misbelief-{question.question_id}")
            false = (text for text in others if reader.truth(question, reader.read(question, text)) == 0.0)
            wrong[question.question_id] = next(false, "")
    return wrong


def _family(facts: Callable[[], Iterable[Fact]]) -> Callable[[], Iterable[Question]]:
    return lambda: split(facts())


def _capitals() -> Vocabularies:
    return {"capitals": geography.capitals()}


def _elements() -> Vocabularies:
    return {"elements": elements.vocabulary()}


_FAMILIES: dict[str, BenchSet] = {
    "geography": BenchSet(
        "countries and cities: capitals, continents, currencies, calling codes",
        _family(geography.facts),
        "GeoNames, CC BY 4.0",
        "extra 'bench'",
        _capitals,
        ids_name_subjects=True,
    ),
    "elements": BenchSet(
        "chemical elements: names, symbols, atomic numbers",
        _family(elements.facts),
        "public domain",
        "extra 'bench'",
        _elements,
        ids_name_subjects=True,
    ),
    "puzzles": BenchSet(
        "arithmetic and logic: sums, equations, sequences, syllogisms",
        _family(puzzles.facts),
        "Apache-2.0",
        "extra 'bench'",
    ),
    "civics": BenchSet("institutions and their words", _family(partial(written.facts, "civics")), "Apache-2.0", "-"),
    "everyday": BenchSet(
        "what a child of twelve knows", _family(partial(written.facts, "everyday")), "Apache-2.0", "-"
    ),
    "personal": BenchSet(
        "questions of taste, whose right form depends on who asks", _family(written.tastes), "Apache-2.0", "-"
    ),
}


def _all_questions() -> Iterable[Question]:
    for family in _FAMILIES.values():
        yield from family.questions()


def _loaded(name: str, about: str, licence: str) -> BenchSet:
    source = loaded.SOURCES[name]
    return BenchSet(about, partial(loaded.questions, name, source), licence, source.wheel.requirement)


SETS: dict[str, BenchSet] = {
    "default": BenchSet(
        "all six families below",
        _all_questions,
        "GeoNames CC BY 4.0, else Apache-2.0",
        "extra 'bench'",
        lambda: _capitals() | _elements(),
    ),
    **_FAMILIES,
    "names": BenchSet(
        "countries, cities and elements, answered freely by one name",
        _family(names.facts),
        "GeoNames CC BY 4.0, else public domain",
        "extra 'bench'",
        names.vocabularies,
        ids_name_subjects=True,
    ),
    "openbookqa": _loaded("openbookqa", "elementary science, four options", "Apache-2.0"),
    "commonsenseqa": _loaded("commonsenseqa", "common sense, five options", "MIT"),
    "truthfulqa": _loaded(
        "truthfulqa", "experimental: common misconceptions, free answers; 340 of 817 can be judged", "Apache-2.0"
    ),
    "mmlu": _loaded("mmlu", "57 school and university subjects, four options", "MIT"),
    "bbq": _loaded("bbq", "social bias in question answering, three options", "CC BY 4.0"),
    "stereoset": _loaded("stereoset", "sentences that make sense, with and without a stereotype", "CC BY-SA 4.0"),
    "aime2025": _loaded("aime2025", "competition mathematics, whole numbers; for audits only", "MIT"),
    "gsm8k": _loaded("gsm8k", "word problems for school children; for audits only", "MIT"),
}
"""Name -> question set."""
