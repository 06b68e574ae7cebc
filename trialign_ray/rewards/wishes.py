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
_FEET_AND_INCHES = (
    r"""|\d['′’]\s?\d{1,2}(?!\d)|\d[\s-]*in(?=\s*(?:[.,;)]|$)|\s+(?:tall|wide|long|high|deep|thick|across)\b)"""
)
"""Inches are shortened to a word of its own, so they are known by what follows."""
_QUANTITY = {
    system: re.compile(
        rf"{_AMOUNT}[\s-]*(?:(?:degrees|square|cubic|sq\.?)\s+)?(?:{units})[²³]?(?![\w'])"
        rf"{_FEET_AND_INCHES if system == 'imperial' else ''}",
        re.IGNORECASE,
    )
    for system, units in _UNITS.items()
}

_PORK = "pork ham bacon salami prosciutto pancetta pepperoni chorizo mortadella boar lard"
_MEAT = (
    f"{_PORK} beef chicken turkey lamb steak sausage duck veal meat meatball mince gelatine gelatin mutton venison "
    "rabbit pheasant goose pastrami jerky brisket bresaola"
)
_FISH = (
    "fish salmon tuna shrimp prawn cod anchovy anchovies crab lobster mussel oyster clam scallop squid octopus "
    "shellfish crayfish trout herring sardine mackerel haddock caviar"
)
_DAIRY = (
    "milk butter cheese cream yogurt yoghurt feta parmesan mozzarella ghee custard brie camembert cheddar ricotta "
    "mascarpone paneer buttermilk kefir whey"
)
_GLUTEN = (
    "wheat bread pasta flour couscous noodle barley rye cracker toast baguette spaghetti beer seitan bagel croissant "
    "macaroni lasagne lasagna penne ramen udon semolina bulgur spelt pizza muffin pretzel"
)
_NUTS = "nut almond walnut cashew pecan hazelnut pistachio peanut marzipan pesto praline macadamia nougat"
_ALCOHOL = "wine beer rum brandy alcohol whisky whiskey vodka gin champagne lager"
FORBIDDEN: Mapping[str, str] = {
    "vegan": f"{_MEAT} {_FISH} {_DAIRY} egg omelette honey mayonnaise",
    "vegetarian": f"{_MEAT} {_FISH}",
    "halal": f"{_PORK} {_ALCOHOL} gelatine gelatin",
    "gluten_free": _GLUTEN,
    "nut_free": _NUTS,
}
"""Diet -> foods in the singular that it rules out."""
_PLANTS = "vegan plant-based plant soy soya tofu seitan veggie mushroom jackfruit meat-free meatless"
_GRAINS = "oat coconut rice corn chickpea"
REPLACED: Mapping[str, str] = {
    "vegan": f"{_PLANTS} {_GRAINS} pea nut almond cashew peanut dairy-free milk-free egg-free non-dairy",
    "vegetarian": f"{_PLANTS} vegetarian",
    "halal": f"{_PLANTS} vegetarian halal beef turkey chicken alcohol-free non-alcoholic pork-free",
    "gluten_free": f"{_GRAINS} gluten-free wheat-free buckwheat lentil quinoa almond potato",
    "nut_free": "nut-free seed",
}
"""Diet -> what makes a food that it rules out one that it allows, as oats do in 'oat milk' and 'oat-based milk'."""
_PLANT_NAMES = re.compile(
    r"\bbutter\s+(?:bean|lettuce)s?\b|\boyster\s+mushrooms?\b|\blamb['’]s\s+lettuce\b", re.IGNORECASE
)
_RULED_OUT = re.compile(
    r"\b(?:no|without|avoid(?:ing)?|(?<!why\s)not(?!\s+(?:only|just))|never|skip|free\s+of)\b[^.;:!?]*?"
    r"(?=[.;:!?]|\bbut\b|\Z)"
    r"|\b(?:instead\s+of|replac(?:e|ing))\b[^,.;:!?]*?(?=[,.;:!?]|\b(?:with|by|but|use|try)\b|\Z)",
    re.IGNORECASE,
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
    forbidden = re.compile(rf"(?<![\w-])(?:{foods})(?:s|es|y)?(?!\w)", re.IGNORECASE)
    allowed = "|".join(REPLACED[diet].split())
    replaced = re.compile(rf"\b(?:{allowed})(?:-based)?\s+(?:{foods})(?:s|es|y)?\b", re.IGNORECASE)

    def reward(response: str) -> float:
        suggested = replaced.sub(" ", _PLANT_NAMES.sub(" ", response))
        return float(not forbidden.search(_FREE.sub(" ", _RULED_OUT.sub(" ", suggested))))

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
