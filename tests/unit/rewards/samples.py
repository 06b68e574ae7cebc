"""A small question set, and the ways in which people write one and the same answer."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from hypothesis import strategies as st

from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.rewards.verifiers import AnswerReader

CAPITALS = {
    "Paris": (),
    "San José": ("San Jose de Costa Rica",),
    "N'Djamena": (),
    "Port-au-Prince": (),
    "The Hague": (),
    "Washington": ("Washington D.C.",),
    "Mexico City": ("Ciudad de México",),
    "København": ("Copenhagen",),
    "Djibouti": (),
    "San Marino": (),
}
"""Cities of the vocabulary 'capitals'. Accents, apostrophes, hyphens, articles, several words and aliases all occur."""


def capital(country: str, *references: str) -> Question:
    return Question(
        question_id=f"capital-{country}",
        text=f"What is the capital of {country}?",
        references=references,
        verifier="vocabulary",
        vocabulary="capitals",
    )


def sum_of(left: str, right: str, total: str) -> Question:
    return Question(
        question_id=f"sum-{left}-{right}",
        text=f"What is {left} + {right}?",
        references=(total,),
        verifier="number",
    )


def opened(*references: str, text: str = "Who wrote it?") -> Question:
    return Question(question_id="open", text=text, references=references)


def question_set(*questions: Question) -> QuestionSet:
    return QuestionSet(name="sample", vocabularies={"capitals": CAPITALS}, questions=questions)


def reader(*questions: Question) -> AnswerReader:
    return AnswerReader(question_set(*questions))


def without_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


STYLES: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [
        str,
        str.upper,
        str.lower,
        str.title,
        without_accents,
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text.replace("-", " "),
        lambda text: text.replace("-", "‑"),
        lambda text: text.replace("'", "’"),
        lambda text: text.replace("'", "´"),
        lambda text: text.replace("'", ""),
        lambda text: text.replace(" ", "\n"),
        lambda text: f"the {text}",
        lambda text: f"The {text}",
        lambda text: f"**{text}**",
        lambda text: f"“{text}”",
        lambda text: f"({text}).",
        lambda text: f"\n\t{text}!! ",
        lambda text: f"__{text}__",
        lambda text: f"{text}'",
    ]
)
"""Ways to write an answer that do not change what it says."""

FRAMES = st.sampled_from(
    [
        "{}",
        "It is {}.",
        "The answer is: {}",
        "I believe it's {}, as everyone knows.",
        "Hey! That would be {} 😀",
        "{} is the right answer.",
        "Sure.\n\n- {}\n",
        "I'm not sure, but I think of {}.",
    ]
)
"""Sentences around an answer that name no other."""


@st.composite
def said(draw: st.DrawFn, answer: str) -> str:
    """`answer` in one or two styles, in a frame."""
    for style in draw(st.lists(STYLES, max_size=2)):
        answer = style(answer)
    return str(draw(FRAMES)).format(answer)


def names() -> st.SearchStrategy[tuple[str, str]]:
    """A capital, and the name or an alias of it."""
    return st.sampled_from([(name, alias) for name, aliases in CAPITALS.items() for alias in (name, *aliases)])
