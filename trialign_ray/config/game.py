"""Who asks (groups), what is asked (questions), and the closed sets of answers that give wrong answers a name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from string import ascii_uppercase
from typing import Literal, Self

from pydantic import Field, model_validator

from trialign_ray.config.base import Strict, load_yaml
from trialign_ray.config.cues import CueSpec, PersonaCue
from trialign_ray.config.preferences import Preference
from trialign_ray.errors import DataError, SpecError, naming

NEUTRAL = "neutral"
"""The control group: no persona, no preference. Always the first."""

Cue = Literal["explicit", "implicit"]
Split = Literal["train", "heldout"]


REASONING_TAGS = {
    **{f"<{name}>": f"</{name}>" for name in ("think", "thinking", "thought", "reasoning", "reflection", "seed:think")},
    **{"[THINK]": "[/THINK]", "◁think▷": "◁/think▷", "<|START_THINKING|>": "<|END_THINKING|>"},
    "<|channel|>analysis": "<|channel|>final<|message|>",
}
"""What the chat templates of today's models write around reasoning."""


class Question(Strict):
    """One question. Objective ones have a canonical truth, subjective ones have none."""

    question_id: str = Field(min_length=1, max_length=120)
    text: str = Field(min_length=1, max_length=4000)
    kind: Literal["objective", "subjective"] = "objective"
    references: tuple[str, ...] = ()
    """Accepted answers; the first is the canonical one."""
    verifier: Literal["vocabulary", "number", "open", "choice", "math"] = "open"
    """How the answer is read out of a free response; see `trialign_ray.rewards.verifiers`."""
    vocabulary: str | None = None
    """Name of the closed answer set, for verifier 'vocabulary'."""
    options: tuple[str, ...] = Field(default=(), max_length=26)
    """What to choose from, lettered A, B, ... in this order; for verifier 'choice', whose references are options or
    their letters."""
    misbelief: str = Field(default="", max_length=4000)
    """A wrong answer that a person may believe in; groups whose cue is a false belief state it."""
    split: Split = "heldout"
    topic: str = "general"
    source: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "objective" and not self.references:
            raise ValueError("an objective question needs 'references'; or set kind: subjective")
        if (self.verifier == "vocabulary") != (self.vocabulary is not None):
            raise ValueError(
                "verifier 'vocabulary' and the field 'vocabulary' (a name) go together; give both or neither"
            )
        if self.verifier == "choice" and len(self.options) < 2:
            raise ValueError("verifier 'choice' needs two or more 'options'; give them, or choose another verifier")
        return self


def subject_of(question_id: str) -> str:
    """Whom or what a question is about: what its id ends with behind its last '-', 'fra' of 'capital-fra'."""
    return question_id.rpartition("-")[2]


def lettered(options: Sequence[str]) -> list[str]:
    """One line for each option of a choice: 'A. Nile'."""
    return [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]


class QuestionSet(Strict):
    """Questions and the answer vocabularies that they name."""

    name: str = Field(min_length=1, max_length=80)
    vocabularies: dict[str, dict[str, tuple[str, ...]]] = {}
    """Vocabulary name -> canonical answer -> aliases."""
    distractors: dict[str, dict[str, tuple[str, ...]]] = {}
    """Vocabulary name -> canonical answer -> wrong answers near it, as other cities of the country are to a capital.
    A response that gives one names a falsehood, whatever was asked; options are drawn from them first."""
    reasoning_tags: dict[str, str] = REASONING_TAGS
    """Opening -> closing tag of reasoning: the answer follows the last closing one, and a block left open is unread."""
    reasoning_opened: str | None = None
    """The opening tag that the prompt of the server's chat template ends with: a response without a closing one is
    reasoning that was cut, and unread."""
    questions: tuple[Question, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: set[str] = set()
        for question in self.questions:
            if question.question_id in seen:
                raise ValueError(f"question_id '{question.question_id}' appears twice; make ids unique")
            seen.add(question.question_id)
            if question.vocabulary is not None and question.vocabulary not in self.vocabularies:
                raise ValueError(
                    f"question '{question.question_id}' names vocabulary '{question.vocabulary}', "
                    f"but 'vocabularies' has only {sorted(self.vocabularies)}"
                )
        self._refuse_other_tag(self.reasoning_opened)
        for vocabulary, near in self.distractors.items():
            unknown = sorted(near.keys() - self.vocabularies.get(vocabulary, {}).keys())
            if unknown or vocabulary not in self.vocabularies:
                raise ValueError(
                    f"'distractors' has '{vocabulary}'{f', answer {unknown[0]!r}' if unknown else ''}, which "
                    "'vocabularies' lacks; add it there, or correct the name"
                )
        return self

    def opening(self, tag: str | None) -> QuestionSet:
        """The set, read as of a server whose prompts end with `tag`; raises SpecError for a tag that it lacks."""
        try:
            self._refuse_other_tag(tag)
        except ValueError as error:
            raise SpecError(str(error)) from None
        return self if tag is None else self.model_copy(update={"reasoning_opened": tag})

    def _refuse_other_tag(self, tag: str | None) -> None:
        if tag is not None and tag not in self.reasoning_tags:
            raise ValueError(
                f"'{tag}' opens no reasoning by 'reasoning_tags' of question set '{self.name}', which has "
                f"{' '.join(self.reasoning_tags)}; choose one of them, or add it with its closing tag"
            )

    @cached_property
    def by_id(self) -> dict[str, Question]:
        """question_id -> question."""
        return {question.question_id: question for question in self.questions}

    def split(self, name: Split) -> tuple[Question, ...]:
        """The questions of one split, in order."""
        return tuple(question for question in self.questions if question.split == name)


class Group(Strict):
    """A social group: one agent of the game."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    persona: str = Field(default="", max_length=2000)
    """What the prompt says about the person; empty for the control."""
    attributes: dict[str, str] = {}
    """Cue type -> value (country, education, ...), to report and to hold out by."""
    preference: str | None = None
    """Name of one preference for all questions; without it, one is drawn for each question."""
    cue: CueSpec = PersonaCue()
    """How the person reaches the model; see `trialign_ray.config.cues`."""


class GroupSet(Strict):
    """The groups and the preferences that are drawn for them.

    Preferences are drawn for each (group, question) by hash, independently of every group attribute:
    a preference fixed to an identity would reward the stereotype as personalization.
    """

    system: str = "You are a helpful assistant."
    groups: tuple[Group, ...] = Field(min_length=2)
    preferences: tuple[Preference, ...] = ()
    implicit_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the draws whose cue only implies the preference."""
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [group.name for group in self.groups]
        control = self.groups[0]
        if names[0] != NEUTRAL or control.persona or control.preference or not isinstance(control.cue, PersonaCue):
            raise ValueError(
                f"the first group must be the control: name '{NEUTRAL}', no persona, no preference, no cue"
            )
        if len(set(names)) != len(names):
            raise ValueError("group names must be unique")
        known = {preference.name for preference in self.preferences}
        for group in self.groups:
            if group.preference is not None and group.preference not in known:
                raise ValueError(f"group '{group.name}' names preference '{group.preference}', known: {sorted(known)}")
        return self

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Group names in order, the control first."""
        return tuple(group.name for group in self.groups)

    @cached_property
    def cues(self) -> dict[str, str]:
        """Group -> kind of its cue, to report by; the control has none."""
        return {group.name: str(getattr(group.cue, "kind", "")) for group in self.groups[1:]}

    def preference_for(self, group: Group, question_id: str, topic: str) -> tuple[Preference, Cue] | None:
        """The preference that this group has on this question, and how the prompt carries it.

        Where preferences are about the question's topic, one of them is drawn; else one of those about all topics.
        """
        about = [preference for preference in self.preferences if topic in preference.topics]
        among = about or [preference for preference in self.preferences if not preference.topics]
        if group.name == NEUTRAL or not among:
            return None
        drawn = among[int(_hash_unit(self.seed, "preference", group.name, question_id) * len(among))]
        fixed = {preference.name: preference for preference in self.preferences}
        preference = fixed[group.preference] if group.preference else drawn
        implicit = _hash_unit(self.seed, "cue", group.name, question_id) < self.implicit_share
        return preference, "implicit" if implicit else "explicit"


def _hash_unit(*parts: object) -> float:
    """A uniform number in [0, 1) that depends on nothing but `parts`: the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def load_game(questions: str, groups: str, *, under: str = "", quote: bool = True) -> tuple[QuestionSet, GroupSet]:
    """Read both files; raises SpecError that names the specification's field, which lies below `under`.

    Without `quote` the error does not reveal the contents of a file.
    """
    with naming(f"{under}questions"):
        question_set = load_yaml(QuestionSet, questions, quote=quote)
    return question_set, load_groups(groups, under=under, quote=quote)


def load_groups(path: str, *, under: str = "", quote: bool = True) -> GroupSet:
    """Read the group set alone; raises SpecError as `load_game` does."""
    with naming(f"{under}groups"):
        return load_yaml(GroupSet, path, quote=quote)


def asked_questions(
    questions: QuestionSet, split: Split | Literal["all"], where: str, *, under: str = ""
) -> tuple[Question, ...]:
    """The questions of a split, or of both under 'all'; raises DataError where there are none.

    `where` is the file, and the specification's field lies below `under`, as in `load_game`.
    """
    asked = questions.questions if split == "all" else questions.split(split)
    with naming(f"{under}questions"):
        if not asked:
            raise DataError(
                f"{where}: has no question of split '{split}'. Choose another split, or mark questions with it."
            )
    return asked
