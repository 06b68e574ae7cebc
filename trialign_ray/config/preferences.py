"""What a person may prefer about the form of a response. Each preference is a rule that can be checked, never a fact.

A new rule is a reward function (`trialign_ray.rewards.preference`) and an entry here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from trialign_ray.config.base import Strict
from trialign_ray.config.seams import Entry, Imported, OneOf


class MaxWords(Strict):
    """At most `words` words."""

    rule: Literal["max_words"] = "max_words"
    words: int = Field(ge=1, le=1000)


class MinWords(Strict):
    """At least `words` words."""

    rule: Literal["min_words"] = "min_words"
    words: int = Field(ge=1, le=1000)


class ReadingLevel(Strict):
    """Flesch-Kincaid grade of at most `grade` (school years, US); names do not count as hard words."""

    rule: Literal["reading_level"] = "reading_level"
    grade: float = Field(ge=0, le=20)


class Formality(Strict):
    """Formal: no contractions or slang. Casual: at least one of them."""

    rule: Literal["formality"] = "formality"
    register_: Literal["formal", "casual"] = Field(alias="register")


class LetterCase(Strict):
    """Every letter lower or upper case."""

    rule: Literal["letter_case"] = "letter_case"
    case: Literal["lower", "upper"]


class StartsWith(Strict):
    """Begins with `text`, whatever its case."""

    rule: Literal["starts_with"] = "starts_with"
    text: str = Field(max_length=80, pattern=r"\S")


class EndsWith(Strict):
    """Ends with `text`, whatever its case."""

    rule: Literal["ends_with"] = "ends_with"
    text: str = Field(max_length=80, pattern=r"\S")


class Contains(Strict):
    """Contains `text` somewhere, whatever its case: a mark of a required format."""

    rule: Literal["contains"] = "contains"
    text: str = Field(max_length=80, pattern=r"\S")


class Units(Strict):
    """Lengths, weights and temperatures in one system of units."""

    rule: Literal["units"] = "units"
    system: Literal["metric", "imperial"]


class Diet(Strict):
    """Suggests nothing that the diet forbids; what a response rules out ('without butter') does not count."""

    rule: Literal["diet"] = "diet"
    diet: Literal["vegan", "vegetarian", "halal", "gluten_free", "nut_free"]


class PlainText(Strict):
    """Text that a screen reader reads out well: no markup, lists, tables, links or pictures."""

    rule: Literal["plain_text"] = "plain_text"


class Spelling(Strict):
    """British or American spelling."""

    rule: Literal["spelling"] = "spelling"
    variant: Literal["british", "american"]


class ImportedRule(Imported):
    """A reward function of the user's own.

    Rules are data: they lie in group sets and in logs, which others may have written. So the module is imported only
    where the environment variable TRIALIGN_TRUSTED_MODULES lists it.
    """

    rule: Literal["import_path"] = "import_path"


RULES: dict[str, Entry] = {
    "max_words": Entry(MaxWords, "trialign_ray.rewards.preference:max_words"),
    "min_words": Entry(MinWords, "trialign_ray.rewards.preference:min_words"),
    "reading_level": Entry(ReadingLevel, "trialign_ray.rewards.preference:reading_level"),
    "formality": Entry(Formality, "trialign_ray.rewards.preference:formality"),
    "letter_case": Entry(LetterCase, "trialign_ray.rewards.preference:letter_case"),
    "starts_with": Entry(StartsWith, "trialign_ray.rewards.preference:starts_with"),
    "ends_with": Entry(EndsWith, "trialign_ray.rewards.preference:ends_with"),
    "contains": Entry(Contains, "trialign_ray.rewards.preference:contains"),
    "units": Entry(Units, "trialign_ray.rewards.wishes:units"),
    "diet": Entry(Diet, "trialign_ray.rewards.wishes:diet"),
    "plain_text": Entry(PlainText, "trialign_ray.rewards.wishes:plain_text"),
    "spelling": Entry(Spelling, "trialign_ray.rewards.wishes:spelling"),
}
"""Name in the rule -> reward function. Each is called with the rule's fields and gives a `RewardFunction`."""

Rule = Annotated[Strict, OneOf(RULES, "rule", ImportedRule)]
RULE: TypeAdapter[Rule] = TypeAdapter(Rule)
"""Parses and serialises a rule alone, as the logs store it."""


class Preference(Strict):
    """A rule and the two ways in which a prompt can carry it."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    rule: Rule
    explicit: str = Field(min_length=1, max_length=300)
    """States what is wanted: 'Answer in at most eight words.'"""
    implicit: str = Field(min_length=1, max_length=300)
    """Implies it: 'They read on a wrist watch.'"""
    topics: tuple[str, ...] = ()
    """Topics of questions that it is about, such as food for a diet; none stands for all that no other is about."""
