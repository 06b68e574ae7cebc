from __future__ import annotations

import pytest

from trialign_ray.config.preferences import Diet, PlainText, Spelling, Units
from trialign_ray.rewards.preference import preference_score
from trialign_ray.rewards.wishes import _PAIRS, FORBIDDEN, REPLACED

METRIC, IMPERIAL = Units(system="metric"), Units(system="imperial")
INCHES = ["about 6 in tall", "5'10\"", "It is 5 in.", "8 sq ft"]
BRITISH, AMERICAN = Spelling(variant="british"), Spelling(variant="american")


@pytest.mark.parametrize(
    "text",
    [
        "About 5 km.",
        "It weighs 3.5 kg.",
        "20 °C is mild.",
        "two metres",
        "half a litre",
        "20 degrees Celsius",
        "5 m²",
        "9 square metres",
    ],
)
def test_metric_quantities(text):
    assert (preference_score(METRIC, text), preference_score(IMPERIAL, text)) == (1.0, 0.0)


@pytest.mark.parametrize(
    "text", ["About 3 miles.", "6 feet tall", "5-foot", "70°F", "a pound of rice", "two cups", *INCHES]
)
def test_imperial_quantities(text):
    assert (preference_score(METRIC, text), preference_score(IMPERIAL, text)) == (0.0, 1.0)


def test_both_systems_are_half_of_what_is_wanted_and_no_quantity_is_nothing():
    assert preference_score(METRIC, "5 km (3 miles)") == preference_score(IMPERIAL, "5 km (3 miles)") == 0.5
    assert preference_score(METRIC, "Quite far.") == 0.0
    assert preference_score(METRIC, "I met 5 men and a clown.") == 0.0
    assert preference_score(IMPERIAL, "At 5 in the morning, one in 3 ran.") == 0.0


@pytest.mark.parametrize("diet", FORBIDDEN)
def test_every_food_that_a_diet_forbids_costs_it(diet):
    rule = Diet(diet=diet)
    for food in FORBIDDEN[diet].split():
        assert preference_score(rule, f"Try some {food} with rice.") == 0.0, food
        assert preference_score(rule, f"Try rice without {food}.") == 1.0, food
    assert preference_score(rule, "Try rice with lentils and tomatoes.") == 1.0


@pytest.mark.parametrize("diet", FORBIDDEN)
def test_every_food_has_replacements_that_the_diet_allows(diet):
    for food in FORBIDDEN[diet].split():
        for replacement in REPLACED[diet].split():
            assert preference_score(Diet(diet=diet), f"Try {replacement} {food}.") == 1.0, (replacement, food)
            assert preference_score(Diet(diet=diet), f"Try {replacement} {food} and {food}.") == 0.0


@pytest.mark.parametrize(
    ("diet", "text"),
    [
        ("vegan", "Why not try a beef stew?"),
        ("vegan", "Eat a burger with lobster and prosciutto."),
        ("vegan", "Use fat-free milk."),
        ("vegan", "Use milk-based cream."),
        ("vegan", "A chicken-based broth."),
        ("vegan", "Instead of butter, use ghee."),
        ("vegan", "Replace the butter with ghee."),
        ("vegetarian", "Not only beef, lamb too."),
        ("vegetarian", "No pork, but beef is fine."),
        ("gluten_free", "Nut-free bread."),
        ("gluten_free", "Vegan pasta."),
        ("nut_free", "Almond-based cream."),
    ],
)
def test_foods_that_only_sound_allowed_cost_the_diet(diet, text):
    assert preference_score(Diet(diet=diet), text) == 0.0


@pytest.mark.parametrize(
    ("diet", "text"),
    [
        ("vegan", "Rice with coconut milk and vegan cheese."),
        ("vegan", "A dairy-free curry."),
        ("vegan", "Use dairy-free cheese."),
        ("vegan", "Use oat-based cream."),
        ("vegan", "Butter beans and oyster mushrooms with lamb's lettuce."),
        ("vegetarian", "Replace the beef with mushrooms."),
        ("gluten_free", "Try gluten-free pasta."),
        ("halal", "Serve alcohol-free beer."),
        ("gluten_free", "Rice noodles with a gluten-free crust."),
        ("nut_free", "A doughnut with nutmeg and coconut."),
        ("vegetarian", "A veggie sausage."),
        ("halal", "Hamburgers of beans, ginger tea."),
    ],
)
def test_foods_that_only_sound_forbidden_are_allowed(diet, text):
    assert preference_score(Diet(diet=diet), text) == 1.0


def test_more_marks_are_worse_for_a_screen_reader():
    rule = PlainText()
    assert preference_score(rule, "First wash the rice, then boil it for ten minutes.") == 1.0
    assert preference_score(rule, "Wash the **rice**.") == pytest.approx(1 / 3)
    assert preference_score(rule, "Wash it 🙂") == 0.5
    listed = [preference_score(rule, "\n".join(f"{mark} step" for _ in range(3))) for mark in ("-", "1.", "#", "•")]
    assert listed == [0.25] * 4
    assert preference_score(rule, "| a | b |") == 0.5
    assert preference_score(rule, "a-b, 3.5 and 1990.") == 1.0


@pytest.mark.parametrize("pair", _PAIRS, ids="/".join)
def test_both_spellings_of_every_word_are_told_apart(pair):
    british, american = (f"The {word} is here." for word in pair)
    assert [preference_score(BRITISH, text) for text in (british, american)] == [1.0, 0.0]
    assert [preference_score(AMERICAN, text) for text in (british, american)] == [0.0, 1.0]


def test_mixed_spelling_is_a_share_and_untold_is_half():
    assert preference_score(BRITISH, "Grey colors in the theatre.") == pytest.approx(2 / 3)
    assert preference_score(BRITISH, "A big house.") == preference_score(AMERICAN, "A big house.") == 0.5


def test_reasoning_is_no_part_of_what_is_scored():
    assert preference_score(METRIC, "<think>3 miles, **so**</think> About 5 km.") == 1.0
    assert preference_score(PlainText(), "<think>cut off") == 0.0
