"""What each turn of a protocol's games gives and costs, with intervals by the cluster bootstrap over questions.

Only responses to questions with a truth count. Letters: r response, q question, c cell of question and group.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import FiniteFloat

from trialign_ray.config.base import Strict
from trialign_ray.evaluation.figures import Figure, Key, MaybeFigure
from trialign_ray.evaluation.stats.intervals import Bootstrap, Statistic, ratio
from trialign_ray.evaluation.turns.coverage import equal_cover, own_cover, shared_cover
from trialign_ray.evaluation.turns.rows import Flags, Floats, Ints, TurnRows

_SIGNED = ("changed", "lift")


class TurnFigures(Strict):
    """One turn."""

    turn: int
    responses: int
    right: MaybeFigure
    """Share of the responses that are right."""
    named: MaybeFigure
    """Share that names an answer, right or wrong."""
    right_given_named: MaybeFigure
    preference: MaybeFigure
    """Mean score of the responses under the groups' wishes; None without wishes."""
    gained: MaybeFigure
    """Of the games that were wrong in the turn before, the share that is right; None in turn 1."""
    lost: MaybeFigure
    """Of the games that were right in the turn before, the share that is wrong; None in turn 1."""
    changed: MaybeFigure
    """Right in this turn less right in the turn before, in the same games; None in turn 1."""
    sayability: MaybeFigure
    """Mean log-prob per token, in nats, of the turn's right responses behind the turn-1 prompt under a reference
    model; None where no model was given or nothing is right."""
    generated_tokens: FiniteFloat
    """Mean tokens of a response."""
    prompt_tokens: FiniteFloat
    """Mean tokens of its prompt."""


class Coverage(Strict):
    """Share of the cells of question and group that have a candidate which is right and follows the group's wish."""

    first: MaybeFigure
    """Own responses of turn 1."""
    later: MaybeFigure
    """Own responses of all turns."""
    peers: MaybeFigure
    """Responses of turn 1 of all groups, each by this group's wish."""
    all: MaybeFigure
    """Responses of all turns of all groups."""
    equal_responses: int | None
    """Own responses in a cell in the two figures below; None where there is one turn or fewer games than turns."""
    equal_first: MaybeFigure
    """That many responses of turn 1."""
    equal_turns: MaybeFigure
    """That many responses of whole games."""
    lift: MaybeFigure
    """The latter less the former: what later turns add over more first answers."""


class TurnReport(Strict):
    """The games of one protocol in one set of logs."""

    logs: str
    protocol: str
    questions: int
    groups: int
    games: FiniteFloat
    """Mean games of a cell, K where all were logged."""
    cell_generated_tokens: FiniteFloat
    """Mean tokens of all responses in a cell: what the protocol costs to generate."""
    cell_prompt_tokens: FiniteFloat
    """Mean tokens of their prompts, each counted once, turn 1's for the whole cell."""
    turns: tuple[TurnFigures, ...]
    coverage: Coverage


def turn_report(rows: TurnRows, logs: str, bootstrap: Bootstrap, sayability_r: Floats | None = None) -> TurnReport:
    """The report of one protocol. `sayability_r`: log-prob per token behind the turn-1 prompt, NaN where unknown."""
    questions = len(rows.questions)
    statistics: dict[Key, Statistic] = {}
    for turn in rows.turns:
        statistics |= {(name, str(turn)): value for name, value in _of_turn(rows, turn).items()}
    equal = equal_cover(rows)
    statistics |= {(name, None): value for name, value in _of_cells(rows, equal).items()}
    found = bootstrap.estimate(statistics, questions, _SIGNED)
    cells = len(np.unique(rows.cell_r))
    first = int((rows.turn_r == 1).sum())
    return TurnReport(
        logs=logs,
        protocol=rows.protocol,
        questions=questions,
        groups=len(rows.groups),
        games=first / cells,
        cell_generated_tokens=sum(map(len, rows.response_r)) / cells,
        cell_prompt_tokens=_prompt_tokens(rows) / cells,
        turns=tuple(_turn(rows, turn, found, _sayable(rows, turn, sayability_r, bootstrap)) for turn in rows.turns),
        coverage=Coverage(
            equal_responses=None if equal is None else equal[2],
            **{name: found.get((name, None)) for name in Coverage.model_fields if name != "equal_responses"},
        ),
    )


def _of_turn(rows: TurnRows, turn: int) -> dict[str, Statistic]:
    now = rows.turn_r == turn
    wished = now & ~np.isnan(rows.preference_r)
    found = {
        "right": _share(rows, rows.right_r, now),
        "named": _share(rows, rows.named_r, now),
        "right_given_named": _share(rows, rows.right_r, now & rows.named_r),
        "preference": _share(rows, np.nan_to_num(rows.preference_r), wished),
    }
    pairs = _successive(rows, turn)
    if len(pairs) == 0:
        return found
    before_p, after_p = rows.right_r[pairs].T
    question_p = rows.question_r[pairs[:, 1]]
    change_p = after_p.astype(np.float64) - before_p
    every = np.ones_like(before_p)
    return found | {
        "gained": _mean(question_p, after_p, ~before_p, rows),
        "lost": _mean(question_p, ~after_p, before_p, rows),
        "changed": _mean(question_p, change_p, every, rows),
    }


def _successive(rows: TurnRows, turn: int) -> Ints:
    """Pairs [p, 2] of rows: a group's response in the turn before and in this one, in the same game."""
    # Sorted by question, group, sample and turn, so the turn before is the row before, if it was logged.
    before = np.arange(len(rows.turn_r) - 1)
    same = (rows.cell_r[1:] == rows.cell_r[:-1]) & (rows.sample_r[1:] == rows.sample_r[:-1])
    kept = same & (rows.turn_r[1:] == turn) & (rows.turn_r[:-1] == turn - 1)
    return np.stack([before[kept], before[kept] + 1], axis=1)


def _of_cells(rows: TurnRows, equal: tuple[Floats, Floats, int] | None) -> dict[str, Statistic]:
    first, every = rows.turn_r == 1, np.ones(len(rows.turn_r), np.bool_)
    covers = {"first": own_cover(rows, first), "peers": shared_cover(rows, first)}
    if len(rows.turns) > 1:
        covers |= {"later": own_cover(rows, every), "all": shared_cover(rows, every)}
    if equal is not None:
        covers |= {"equal_turns": equal[0], "equal_first": equal[1], "lift": equal[0] - equal[1]}
    cells = np.unique(rows.cell_r)
    asked = np.ones(len(cells), np.bool_)
    return {name: _mean(cells // len(rows.groups), cover_c[cells], asked, rows) for name, cover_c in covers.items()}


def _share(rows: TurnRows, value_r: Floats | Flags, among: Flags) -> Statistic:
    return _mean(rows.question_r, value_r, among, rows)


def _mean(question: Ints, value: Floats | Flags, among: Flags, rows: TurnRows) -> Statistic:
    """The mean of `value` over the units in `among`, each of which belongs to a question."""
    size = len(rows.questions)
    total_q, units_q = np.zeros(size), np.zeros(size)
    np.add.at(total_q, question[among], value[among])
    np.add.at(units_q, question[among], 1)
    return ratio(total_q, units_q)


def _sayable(rows: TurnRows, turn: int, sayability_r: Floats | None, bootstrap: Bootstrap) -> MaybeFigure:
    """Of the right responses; no share, so its interval is the bootstrap's percentiles alone."""
    if sayability_r is None:
        return None
    among = (rows.turn_r == turn) & rows.right_r & ~np.isnan(sayability_r)
    if not among.any():
        return None
    mean = _share(rows, np.nan_to_num(sayability_r), among)
    drawn_r = np.concatenate([mean(weight_rq) for weight_rq in bootstrap.weights(len(rows.questions))])
    low, high = np.nanpercentile(drawn_r, (2.5, 97.5))
    return Figure.around(float(mean(np.ones((1, len(rows.questions))))[0]), float(low), float(high))


def _turn(rows: TurnRows, turn: int, found: Mapping[Key, MaybeFigure], sayability: MaybeFigure) -> TurnFigures:
    names = ("right", "named", "right_given_named", "preference", "gained", "lost", "changed")
    generated, prompt = rows.tokens(turn)
    return TurnFigures(
        turn=turn,
        responses=int((rows.turn_r == turn).sum()),
        **{name: found.get((name, str(turn))) for name in names},
        sayability=sayability,
        generated_tokens=generated,
        prompt_tokens=prompt,
    )


def _prompt_tokens(rows: TurnRows) -> int:
    """Tokens of all prompts: a turn-1 prompt is computed once for the K games of its cell."""
    lengths = np.array([len(prompt) for prompt in rows.prompt_r])
    _, once = np.unique(rows.cell_r[rows.turn_r == 1], return_index=True)
    return int(lengths[rows.turn_r == 1][once].sum() + lengths[rows.turn_r > 1].sum())
