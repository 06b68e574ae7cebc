"""The evaluation from logs as a job: fresh draws or importance sampling, beside the bounds by logged mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.entrypoints.audit.model_folder import model_folder
from trialign_ray.entrypoints.evaluate.fresh import Fresh, fresh_draws, fresh_game
from trialign_ray.entrypoints.evaluate.logged_rows import LoggedPrompt, logged_cells, refuse_unsampled
from trialign_ray.entrypoints.evaluate.scores import Scores, logged_of, refuse_other_sampling, scores_of
from trialign_ray.entrypoints.versions import versions
from trialign_ray.errors import DataError
from trialign_ray.evaluation.offline.report import GroupValue, OfflineReport, group_value
from trialign_ray.evaluation.stats.intervals import Bootstrap, Floats
from trialign_ray.io.storage import atomic_file, locate, writing
from trialign_ray.progress import Progress, Silent

Reward = Literal["truth", "preference"]
_REWARDS: tuple[Reward, ...] = ("truth", "preference")


def evaluate(spec: EvaluateSpec, progress: Progress | None = None) -> OfflineReport:
    """Write `offline.json` into `<runs>/<name>` and give the report back.

    All that can be refused is refused before the model answers. Raises SpecError, DataError and ModelError.
    """
    progress = progress or Silent()
    cells = logged_cells(spec)
    estimated = _estimated(spec, cells)
    if estimated:
        refuse_unsampled(spec.logs, cells)
    place, notes = model_folder(spec), list[str]()
    facts = place.facts()
    game = None if spec.importance else fresh_game(spec, cells, place)
    logged_by = {row["model_hash"] for cell in cells for row in cell.rows}
    if estimated and logged_by == {facts["model_hash"]}:
        refuse_other_sampling(cells, spec, replace(place, adapter=None))
    elif estimated:
        notes.append(
            "the logs are not of the given model alone, so their log-probs could not be checked against --temperature"
        )
    scores = scores_of(cells, spec, place, progress)
    fresh = None if game is None else fresh_draws(spec, cells, game, progress)
    notes += [f"{reward}: cannot be recomputed, and is estimated by importance" for reward in estimated if fresh]
    report = OfflineReport(
        target=f"the policy sampled as logged, at temperature {spec.temperature:g}; not its greedy answers",
        run={"specification": spec.model_dump(mode="json"), "versions": versions(), **facts},
        values=tuple(_values(cells, scores, fresh, estimated, Bootstrap(spec.bootstrap))),
        notes=tuple(notes),
    )
    target = locate(spec.runs).child(spec.name).child("offline.json")
    with writing(target.uri), atomic_file(target) as file:
        file.write(report.model_dump_json(indent=1).encode())
    return report


def _estimated(spec: EvaluateSpec, cells: Sequence[LoggedPrompt]) -> tuple[Reward, ...]:
    """The rewards that importance sampling estimates: all of them, or those that cannot be recomputed.

    A preference that was logged without its rule was judged elsewhere, and no fresh answer can be.
    """
    if spec.importance:
        return _REWARDS
    judged = any(
        row["reward_preference"] is not None and row["preference"] is None for cell in cells for row in cell.rows
    )
    return ("preference",) if judged else ()


def _values(
    cells: Sequence[LoggedPrompt],
    scores: Scores,
    fresh: Fresh | None,
    estimated: Sequence[Reward],
    bootstrap: Bootstrap,
) -> list[GroupValue]:
    found = []
    for reward in _REWARDS:
        for group in dict.fromkeys(cell.group for cell in cells):
            own = [(cell, logp) for cell, logp in zip(cells, scores, strict=True) if cell.group == group]
            logged = logged_of([cell for cell, _ in own], [logp for _, logp in own], reward)
            if logged is None:
                continue
            drawn_q = None if fresh is None or reward in estimated else _drawn(own, fresh, reward)
            found.append(group_value(reward, group, logged, drawn_q, bootstrap))
    return found


def _drawn(own: Sequence[tuple[LoggedPrompt, object]], fresh: Fresh, reward: Reward) -> Floats:
    """Mean reward of the fresh draws of each of the group's cells that was logged with the reward."""
    with_reward = [cell for cell, _ in own if any(row[f"reward_{reward}"] is not None for row in cell.rows)]
    for cell in with_reward:
        if reward not in fresh[cell.question_id, cell.group]:
            raise DataError(
                f"question '{cell.question_id}' of group '{cell.group}' was logged with field 'reward_{reward}', which "
                "the two sets do not give. Give the sets that were logged, or estimate from the logs (--importance)."
            )
    return np.array([fresh[cell.question_id, cell.group][reward] for cell in with_reward])
