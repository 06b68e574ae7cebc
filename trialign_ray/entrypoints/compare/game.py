"""What is asked of every arm, read once a cell: questions, groups, options, and how the model sees them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trialign_ray.config.compare import CompareSpec, HeldOutSpec, Regime
from trialign_ray.config.game import GroupSet, Question, QuestionSet, asked_questions, load_game, subject_of
from trialign_ray.data.regimes import drawn
from trialign_ray.envs.prompts import refuse_equal_prompts
from trialign_ray.errors import DataError, SpecError, naming
from trialign_ray.rewards.options import OptionSets, draw_options

FEWEST_SUBJECTS = 20
"""That may be drawn: of few clusters a bootstrap is too sure (Cameron, Gelbach & Miller 2008)."""


@dataclass(frozen=True, slots=True)
class HeldOutGame:
    """Questions of each reading, and who asks."""

    spec: HeldOutSpec
    questions: QuestionSet
    groups: GroupSet
    scored: tuple[Question, ...]
    """Those whose options are scored."""
    free: tuple[Question, ...]
    """Those that are answered freely."""
    options: OptionSets


def held_out_game(spec: CompareSpec, regime: Regime | None, validation: Collection[str] = ()) -> HeldOutGame:
    """The game of `regime`; with `validation` those questions are asked, in the closed reading alone where it decides.

    Raises SpecError and DataError, which name the field.
    """
    told = spec.evaluation
    path = told.groups if regime is None or regime.groups is None else regime.groups
    questions, groups = load_game(told.questions, path, under="evaluation.")
    if validation:
        asked = tuple(question for question in questions.questions if question.question_id in validation)
        if not asked:
            raise DataError(
                f"{told.questions}: has none of the {len(validation)} training questions that trials ask. Give a set "
                "that holds them beside the held-out ones, or one learning rate a family."
            )
    else:
        asked = asked_questions(questions, "heldout", told.questions, under="evaluation.")
        if told.most is not None:
            asked = _some(asked, told.most, told.seed, "asked")
    with naming("evaluation.groups"):
        refuse_equal_prompts(groups, asked)
    with naming("evaluation.questions"):
        objective = tuple(question for question in asked if question.kind == "objective")
        sets = draw_options(objective, questions, told.options, told.seed)
        if not sets.by_question:
            raise DataError(f"{told.questions}: no question that is asked has options. Give a vocabulary or 'options'.")
    free = objective if told.most_free is None else _some(objective, told.most_free, told.seed, "free")
    if validation:
        reading = spec.validation.figure.partition(".")[0]
        free = objective if reading == "free" else ()
    elif told.cluster == "subject":
        _refuse_few_subjects(told, free or objective)
    scored = tuple(question for question in objective if question.question_id in sets.by_question)
    return HeldOutGame(told, questions, groups, scored, free, sets)


def _refuse_few_subjects(told: HeldOutSpec, asked: Sequence[Question]) -> None:
    about = {subject_of(question.question_id) for question in asked}
    if len(about) < FEWEST_SUBJECTS:
        raise SpecError(
            f"field 'evaluation.cluster': {len(asked)} questions of {told.questions} are about {len(about)} subjects. "
            f"Intervals that draw fewer than {FEWEST_SUBJECTS} are too short. Ask about more, or draw questions."
        )


def _some(questions: tuple[Question, ...], most: int, seed: int, purpose: str) -> tuple[Question, ...]:
    share = min(1.0, most / len(questions))
    kept = set(drawn([question.question_id for question in questions], share, seed, purpose))
    return tuple(question for question in questions if question.question_id in kept)
