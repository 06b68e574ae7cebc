"""Wishes of a person that a response keeps or not: units, diet, a screen reader, a variant of English.

Each gives a `trialign_ray.rewards.preference.RewardFunction`. They look at the form of a response and at what it
suggests, never at the question or at what is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

Reward = Callable[[str], float]

_AMOUNT = (
    r"(?:\d|\b(?:a|an|one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|million|few|half)\b)"
)
_UNITS = {
    "metric": r"(?:k|c|m)?m|(?:kilo|centi|milli)?met(?:re|er)s?|k?g|(?:kilo)?grams?|kilos?|m?l|(?:milli)?lit(?:re|er)s?"
    r"|°\s?c|celsius|km/h",
    "imperial": r"miles?|mi|yards?|yd|f(?:ee|oo)t|ft|inch(?:es)?|pounds?|lbs?|ounces?|oz|gallons?|pints?|cups?"
    r"|°\s?f|fahrenheit|mph",
}
_QUANTITY = {
    system: re.compile(rf"{_AMOUNT}[\s-]*(?:degrees\s+)?(?:{units})(?![\w'])", re.IGNORECASE)
    for system, units in _UNITS.items()
}

_MEAT = "beef chicken pork ham bacon turkey lamb steak sausage salami duck veal meat meatball mince gelatine gelatin"
_FISH = "fish salmon tuna shrimp prawn cod anchovy crab"
_DAIRY = "milk butter cheese cream yogurt yoghurt feta parmesan mozzarella ghee custard"
_GLUTEN = "wheat bread pasta flour couscous noodle barley rye cracker toast baguette spaghetti beer seitan"
_NUTS = "nut almond walnut cashew pecan hazelnut pistachio peanut marzipan pesto praline"
FORBIDDEN: Mapping[str, str] = {
    "vegan": f"{_MEAT} {_FISH} {_DAIRY} egg omelette honey mayonnaise",
    "vegetarian": f"{_MEAT} {_FISH}",
    "halal": "pork ham bacon salami wine beer rum brandy alcohol lard gelatine gelatin",
    "gluten_free": _GLUTEN,
    "nut_free": _NUTS,
}
"""Diet -> foods in the singular that it rules out."""
_REPLACED = r"(?:vegan|vegetarian|plant-based|plant|soya?|oat|coconut|rice|corn|chickpea|gluten-free|dairy-free|veggie)"
_RULED_OUT = re.compile(
    r"\b(?:no|without|avoid(?:ing)?|instead\s+of|not|never|skip|free\s+of|replac(?:e|ing))\b[^.;:!?]*", re.IGNORECASE
)
_FREE = re.compile(r"\b[\w-]+-free\b", re.IGNORECASE)

_MARKUP = re.compile(
    r"\*\*|__|`|^\s{0,3}#{1,6}\s|^\s*(?:[-*+•]|\d+[.)])\s|\|.*\||https?://|\]\(|[→⇒✓✔✗★]|[\U0001f300-\U0001faff☀-➿]",
    re.MULTILINE,
)

_VARIANTS = """
    colour/color flavour/flavor favourite/favorite neighbour/neighbor neighbourhood/neighborhood harbour/harbor
    honour/honor humour/humor labour/labor behaviour/behavior savour/savor rumour/rumor odour/odor vapour/vapor
    centre/center theatre/theater litre/liter fibre/fiber grey/gray organise/organize realise/realize
    recognise/recognize apologise/apologize analyse/analyze travelling/traveling traveller/traveler cosy/cozy
    jewellery/jewelry mum/mom catalogue/catalog defence/defense aeroplane/airplane plough/plow colourful/colorful
    flavourful/flavorful favour/favor organised/organized realised/realized centimetre/centimeter kilometre/kilometer
"""
_PAIRS = [pair.split("/") for pair in _VARIANTS.split()]


def _words(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words)})s?\b", re.IGNORECASE)


def units(system: Literal["metric", "imperial"]) -> Reward:
    """1 for quantities in these units alone, half where the other system stands beside them, else 0."""
    other = "imperial" if system == "metric" else "metric"

    def reward(response: str) -> float:
        if not _QUANTITY[system].search(response):
            return 0.0
        return 0.5 if _QUANTITY[other].search(response) else 1.0

    return reward


def diet(diet: Literal["vegan", "vegetarian", "halal", "gluten_free", "nut_free"]) -> Reward:
    """1 where no forbidden food is suggested, else 0. 'Oat milk', 'vegan cheese' and 'without butter' are allowed."""
    foods = "|".join(FORBIDDEN[diet].split())
    forbidden = re.compile(rf"(?<![\w-])(?:{foods})(?:s|es|y)?(?![\w-])", re.IGNORECASE)
    replaced = re.compile(rf"\b{_REPLACED}\s+(?:{foods})s?\b", re.IGNORECASE)

    def reward(response: str) -> float:
        suggested = replaced.sub(" ", _FREE.sub(" ", _RULED_OUT.sub(" ", response)))
        return float(not forbidden.search(suggested))

    return reward


def plain_text() -> Reward:
    """1 without any mark that a screen reader reads out or loses its way in, half with one, falling with each more."""
    return lambda response: 1 / (1 + len(_MARKUP.findall(response)))


def spelling(variant: Literal["british", "american"]) -> Reward:
    """Share of the words that tell the two apart which are spelled so; half where no word tells."""
    british = _words(pair[0] for pair in _PAIRS)
    american = _words(pair[1] for pair in _PAIRS)
    wanted, other = (british, american) if variant == "british" else (american, british)

    def reward(response: str) -> float:
        right, wrong = len(wanted.findall(response)), len(other.findall(response))
        return right / (right + wrong) if right + wrong else 0.5

    return reward
