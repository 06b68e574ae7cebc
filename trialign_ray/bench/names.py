"""The same facts of countries, cities and elements as questions to be answered freely by one name.

Nothing to choose from stands in the question, so free answers show what a model says of its own accord to whom. A
country with all that is asked of it, its cities included, is one subject, and so is an element.
"""

from __future__ import annotations

from collections.abc import Iterator

from trialign_ray.bench import elements, geography
from trialign_ray.bench.fact import Fact, fact, names_its_answer
from trialign_ray.bench.geography import CONTINENTS, SOURCE

COUNTRIES = {
    "United States": ("USA", "United States of America", "America"),
    "United Kingdom": ("UK", "Great Britain", "Britain", "England"),
    "United Arab Emirates": ("UAE",),
    "Turkey": ("Türkiye", "Turkiye"),
    "Czechia": ("Czech Republic",),
    "Ivory Coast": ("Cote d'Ivoire", "Côte d'Ivoire"),
    "Democratic Republic of the Congo": ("DR Congo", "DRC", "Congo-Kinshasa"),
    "Republic of the Congo": ("Congo-Brazzaville",),
    "South Korea": ("Republic of Korea",),
    "North Korea": ("Democratic People's Republic of Korea",),
    "Netherlands": ("Holland", "The Netherlands"),
    "Myanmar": ("Burma",),
    "Eswatini": ("Swaziland",),
}

Vocabulary = dict[str, tuple[str, ...]]


def vocabularies() -> dict[str, Vocabulary]:
    """Capitals, continents, countries, currencies and elements; of two entries with one name, neither."""
    countries = geography.countries()
    return {
        "capitals": geography.capitals(),
        "continents": dict.fromkeys((*CONTINENTS.values(), "Antarctica"), ()),
        "countries": {country["name"]: COUNTRIES.get(country["name"], ()) for country in countries},
        "currencies": {country["currencyname"]: () for country in countries if country["currencyname"]},
        "elements": elements.vocabulary(),
    }


def facts() -> Iterator[Fact]:
    """All questions; those whose words hold their answer are left out. Raises MissingExtraError."""
    named = [*_of_countries(), *_of_cities(), *_of_elements()]
    yield from (each for each in named if not names_its_answer(each.question))


def _asked(subject: str, kind: str, text: str, answer: str, vocabulary: str, topic: str, source: str = SOURCE) -> Fact:
    return fact(subject, kind, text, [answer], verifier="vocabulary", vocabulary=vocabulary, topic=topic, source=source)


def _of_countries() -> Iterator[Fact]:
    known = geography.capitals()
    for country in geography.countries():
        subject, name, capital = country["iso3"].lower(), country["name"], country["capital"].strip()
        if capital in known:
            asked = f"Of which country is {capital} the capital?"
            yield _asked(subject, "capital", f"What is the capital of {name}?", capital, "capitals", "capitals")
            yield _asked(subject, "country", asked, name, "countries", "countries")
        if country["continentcode"] in CONTINENTS:
            continent = CONTINENTS[country["continentcode"]]
            yield _asked(subject, "continent", f"On which continent is {name}?", continent, "continents", "continents")
        if country["currencyname"]:
            money = country["currencyname"]
            yield _asked(subject, "currency", f"Which currency is used in {name}?", money, "currencies", "currencies")


def _of_cities() -> Iterator[Fact]:
    for key, city, country in geography.large_cities():
        text = f"In which country is the city of {city}?"
        yield _asked(country["iso3"].lower(), f"city-{key}", text, country["name"], "countries", "cities")


def _of_elements() -> Iterator[Fact]:
    for element in elements.elements():
        symbol, name = str(element.symbol), str(element.name)
        symbol_asked = f"Which chemical element has the symbol {symbol}?"
        number_asked = f"Which chemical element has the atomic number {element.number}?"
        yield _asked(symbol.lower(), "element", symbol_asked, name, "elements", "elements", elements.SOURCE)
        yield _asked(symbol.lower(), "numbered", number_asked, name, "elements", "atomic numbers", elements.SOURCE)
