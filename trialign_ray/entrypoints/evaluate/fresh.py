"""Fresh draws on logged questions: a local model is asked again, sampled as the logs were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.config.game import GroupSet, QuestionSet, load_game
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.entrypoints.audit.local_model import answers_of_model
from trialign_ray.entrypoints.audit.model_folder import ModelFolder
from trialign_ray.entrypoints.evaluate.logged_rows import LoggedPrompt
from trialign_ray.envs.prompts import first_turn
from trialign_ray.errors import DataError, naming
from trialign_ray.models.loading import chat_tokens
from trialign_ray.progress import Progress

Fresh = Mapping[tuple[str, str], Mapping[str, float]]
"""(question, group) -> 'truth' or 'preference' -> mean reward of the draws; none where there is no such reward."""


def fresh_game(spec: EvaluateSpec, cells: Sequence[LoggedPrompt], place: ModelFolder) -> tuple[QuestionSet, GroupSet]:
    """The two sets, cut to what was logged. Raises DataError where they ask it in other words than the logs."""
    questions, groups = load_game(str(spec.questions), str(spec.groups))
    asked = {cell.question_id for cell in cells}
    asking = {groups.names[0], *(cell.group for cell in cells)}
    if unknown := sorted(asked - questions.by_id.keys()):
        with naming("questions"):
            raise DataError(
                f"{spec.questions}: lacks {len(unknown)} logged questions, '{unknown[0]}' first, so their rewards "
                "cannot be recomputed. Give the set that was logged, or estimate from the logs (--importance)."
            )
    if unknown := sorted(asking - set(groups.names)):
        with naming("groups"):
            raise DataError(f"{spec.groups}: lacks the logged group '{unknown[0]}'. Give the set that was logged.")
    with naming("model"):
        tokens = chat_tokens(place.model, spec.chat_template_kwargs)
    by_name = {group.name: group for group in groups.groups}
    for cell in cells:
        messages = first_turn(groups, by_name[cell.group], questions.by_id[cell.question_id])
        if tuple(tokens.prompt(messages)) != cell.prompt_ids:
            raise DataError(
                f"{spec.logs}: question '{cell.question_id}' of group '{cell.group}' was asked in other words, or by "
                "another chat template. Give the question set, group set and --template that were logged."
            )
    kept = tuple(question for question in questions.questions if question.question_id in asked)
    askers = tuple(group for group in groups.groups if group.name in asking)
    # Made anew and not copied: a copy would keep what is cached of the whole sets.
    return (
        QuestionSet(**{name: getattr(questions, name) for name in QuestionSet.model_fields} | {"questions": kept}),
        GroupSet(**{name: getattr(groups, name) for name in GroupSet.model_fields} | {"groups": askers}),
    )


def fresh_draws(
    spec: EvaluateSpec, cells: Sequence[LoggedPrompt], game: tuple[QuestionSet, GroupSet], progress: Progress
) -> Fresh:
    """Mean rewards of fresh draws by question and group; the draws are kept in the run's `answers`."""
    longest = max(len(row["response_ids"]) for cell in cells for row in cell.rows)
    shared = ("name", "model", "adapter", "chat_template_kwargs", "questions", "groups", "runs", "samples", "seed")
    asked = {name: getattr(spec, name) for name in (*shared, "temperature", "dtype", "device")}
    audit = AuditSpec(**asked, split="all", max_new_tokens=spec.max_new_tokens or longest)
    drawn: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in answers_of_model(audit, *game, progress).table.to_pylist():
        for reward in ("truth", "preference"):
            if row[f"reward_{reward}"] is not None:
                drawn[row["question_id"], row["group"]][reward].append(row[f"reward_{reward}"])
    return {key: {name: float(np.mean(found)) for name, found in rewards.items()} for key, rewards in drawn.items()}
