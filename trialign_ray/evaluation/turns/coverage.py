"""Coverage: in how many cells of question and group there is a candidate that is right and follows the group's wish.

Training can only raise what is among the candidates, so coverage bounds what a protocol's logs can teach. At equal
numbers of responses it is estimated as pass@k is (arXiv 2107.03374): of K draws with h hits, m drawn without putting
back miss them all with chance C(K - h, m) / C(K, m).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import comb

import numpy as np

from trialign_ray.config.preferences import RULE
from trialign_ray.evaluation.turns.rows import Flags, Floats, Ints, TurnRows
from trialign_ray.rewards.preference import preference_score


def hit_chance(draws: int, hits: int, taken: int) -> float:
    """Chance that `taken` of `draws`, of which `hits` hit, hold a hit. taken: at most `draws`."""
    return 1.0 - comb(draws - hits, taken) / comb(draws, taken)


def own_cover(rows: TurnRows, turns: Flags) -> Floats:
    """For each cell 1 where the group's own responses of the turns in the mask [r] cover it, else 0."""
    cover_c = np.zeros(len(rows.questions) * len(rows.groups))
    cover_c[rows.cell_r[rows.right_r & rows.follows_r & turns]] = 1
    return cover_c


def shared_cover(rows: TurnRows, turns: Flags) -> Floats:
    """For each cell 1 where responses of the mask [r] cover it, the group's own or a peer's, else 0.

    A peer's right response counts where it follows this group's wish, by the rule of the group's own rows.
    """
    cover_c = own_cover(rows, turns)
    right_texts: dict[int, set[str]] = {}
    for row in np.flatnonzero(rows.right_r & turns):
        right_texts.setdefault(int(rows.question_r[row]), set()).add(rows.text_r[row])
    rules: Mapping[int, str | None] = dict(zip(rows.cell_r.tolist(), rows.rule_r.tolist(), strict=True))
    for cell, rule in rules.items():
        texts = sorted(right_texts.get(cell // len(rows.groups), ()))
        cover_c[cell] = max(cover_c[cell], any(rule is None or _score(rule, text) >= 1 for text in texts))
    return cover_c


def equal_cover(rows: TurnRows) -> tuple[Floats, Floats, int] | None:
    """For each cell its coverage by whole games and by as many first responses, and how many responses that is.

    With K games of T turns, K // T games have as many responses as the K // T * T first ones that they are held
    against; both are means over all ways to choose them. None where there is one turn, or fewer games than turns.
    """
    turns, cells = len(rows.turns), len(rows.questions) * len(rows.groups)
    hit_r = rows.right_r & rows.follows_r
    played = np.bincount(rows.cell_r[rows.turn_r == 1], minlength=cells)
    draws = int(played[played > 0].min())
    if turns == 1 or draws < turns:
        return None
    games = draws // turns
    whole_c = _chances(rows, hit_r, played, games)
    first_c = _chances(rows, hit_r & (rows.turn_r == 1), played, games * turns)
    return whole_c, first_c, games * turns


def _chances(rows: TurnRows, hit_r: Flags, played_c: Ints, taken: int) -> Floats:
    """For each cell the chance that `taken` of its games hold one with a hit."""
    hits = np.unique(np.stack([rows.cell_r[hit_r], rows.sample_r[hit_r]]), axis=1)[0]
    hits_c = np.bincount(hits, minlength=len(played_c))
    pairs = zip(played_c.tolist(), hits_c.tolist(), strict=True)
    return np.array([hit_chance(draws, hit, taken) if draws else 0.0 for draws, hit in pairs])


@lru_cache(maxsize=1 << 16)
def _score(rule: str, response: str) -> float:
    return preference_score(RULE.validate_json(rule), response)
