"""Chemical elements, from periodictable. An element is one subject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trialign_ray.bench.fact import Fact, fact, options_with
from trialign_ray.errors import require

SOURCE = "periodictable"
ALIASES = {"aluminum": ("aluminium",), "sulfur": ("sulphur",), "cesium": ("caesium",)}
_LETTERS = ("B", "C")
"""Symbols that are letters of options too: an answer 'B' would be two answers."""


def vocabulary() -> dict[str, tuple[str, ...]]:
    """The elements, with other ways to write them."""
    return {element.name: ALIASES.get(element.name, ()) for element in elements()}


def facts() -> Iterator[Fact]:
    """Name, symbol and atomic number of each element; raises MissingExtraError where the extra is not installed."""
    known = elements()
    symbols = [str(element.symbol) for element in known if element.symbol not in _LETTERS]
    for element in known:
        name, symbol = str(element.name), str(element.symbol)
        yield fact(
            symbol.lower(),
            "element",
            f"Which chemical element has the symbol {symbol}?",
            [name],
            verifier="vocabulary",
            vocabulary="elements",
            topic="elements",
            source=SOURCE,
        )
        yield fact(
            symbol.lower(),
            "number",
            f"Which atomic number does the chemical element {name} have?",
            [str(element.number)],
            verifier="number",
            topic="atomic numbers",
            source=SOURCE,
        )
        if symbol not in _LETTERS:
            yield fact(
                symbol.lower(),
                "symbol",
                f"Which symbol does the chemical element {name} have?",
                [symbol],
                options=options_with(symbol, symbols, 4, f"symbol-{symbol}"),
                verifier="choice",
                topic="symbols",
                source=SOURCE,
            )


def elements() -> list[Any]:
    """Every element but the neutron; raises MissingExtraError where the extra is not installed."""
    require("bench", "periodictable")
    import periodictable

    return [element for element in periodictable.elements if element.number]
