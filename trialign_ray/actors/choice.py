"""Which responses compete behind a group's prompt.

Own candidates are the first responses of turn 1. Added to them are right responses that would otherwise stay with the
one persona that elicits them: the peers' (of any turn) and the group's own later turns, those that suit this group's
preference best first. All compete behind the group's turn-1 prompt, which is the prompt of deployment; of several such
prompts to one question it is the one with the most responses, and right responses to the others are added as well. A
question that the group was not asked has no candidates.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.preferences import RULE
from trialign_ray.config.train import CandidateSpec
from trialign_ray.rewards.preference import RewardFunction, scorer_of
from trialign_ray.rewards.utility import utility


class Heard(NamedTuple):
    """A response of the logs; token ids are int32 in bytes, so that they compare at once."""

    ids: bytes
    text: str
    answer: str | None
    truth: float | None
    turn: int
    preference: float | None = None
    """As logged; not known of a peer's, whose preference is another."""


class OwnHeard(NamedTuple):
    """A response of the group itself, with what it was asked."""

    said: Heard
    prompt: bytes
    objective: bool
    rule: str | None


class Candidate(NamedTuple):
    """One response that competes."""

    said: Heard
    utility: float
    own: bool


class CandidateEntry(NamedTuple):
    """The candidates of one question."""

    question_id: str
    prompt: bytes
    objective: bool
    candidates: list[Candidate]


@dataclass(frozen=True, slots=True)
class Choice:
    """How one group's candidates are chosen."""

    group: str
    candidates: CandidateSpec
    utility: UtilitySpec
    stop_ids: tuple[int, ...]
    """Only responses that ended are borrowed: a cut-off one would teach to stop anywhere."""

    def entry(self, question_id: str, rows: Sequence[OwnHeard], peers: Sequence[Heard]) -> CandidateEntry | None:
        """The candidates of a question; None where the group was not asked it in turn 1.

        rows: the group's own by turn and sample; peers: what others said right and ended.
        """
        first = [row for row in rows if row.said.turn == 1]
        if not first:
            return None
        prompt = _most_answered([row.prompt for row in first])
        others = [row.said for row in rows if row.said.turn > 1 or row.prompt != prompt]
        first = [row for row in first if row.prompt == prompt]
        own = _distinct([row.said for row in first[: self.candidates.own]], set())
        offers = [*(said for said in others if self._offered(said)), *peers]
        borrowed = self._suited(_distinct(offers, {said.ids for said in own}), first)
        scored = [*((said, said.preference, True) for said in own), *((said, p, False) for said, p in borrowed)]
        return CandidateEntry(
            question_id,
            prompt,
            first[0].objective,
            [Candidate(said, utility(self.utility, said.truth, p), mine) for said, p, mine in scored],
        )

    def _offered(self, said: Heard) -> bool:
        """Whether a response of the group's own goes to the borrowed ones."""
        if said.truth != 1 or not (self.candidates.later_turns or said.turn == 1):
            return False
        return bool(said.ids) and int.from_bytes(said.ids[-4:], "little", signed=True) in self.stop_ids

    def _suited(self, extra: Sequence[Heard], first: Sequence[OwnHeard]) -> list[tuple[Heard, float | None]]:
        """The best suited to the preference of these rows first, ties in an order that depends on the text alone."""
        count, scored = self.candidates.borrowed, self._scored(extra, first)
        if count == 0 or not scored:
            return []
        least = sorted((score or 0.0 for _, score in scored), reverse=True)[:count][-1]
        # A digest for each right answer of each peer would be most of the work: those below the last place need none.
        near = [pair for pair in scored if (pair[1] or 0.0) >= least]
        return sorted(near, key=lambda pair: (-(pair[1] or 0.0), _tie(self.group, pair[0].text)))[:count]

    def _scored(self, extra: Sequence[Heard], first: Sequence[OwnHeard]) -> list[tuple[Heard, float | None]]:
        """Each with its score under the group's own rule; without a rule the mean of what its responses scored."""
        if first[0].rule is not None:
            score = _scorer(first[0].rule)
            return [(said, score(said.text)) for said in extra]
        known = [row.said.preference for row in first if row.said.preference is not None]
        mean = float(np.mean(known)) if known else None
        return [(said, mean) for said in extra]


def _tie(group: str, response: str) -> bytes:
    return hashlib.sha256(f"{group}\0{response}".encode()).digest()


@lru_cache(maxsize=1 << 12)
def _scorer(rule: str) -> RewardFunction:
    return scorer_of(RULE.validate_json(rule))


def _most_answered(prompts: Sequence[bytes]) -> bytes:
    """The prompt that stands there most often, of several the first."""
    often = Counter(prompts)
    return max(prompts, key=lambda prompt: often[prompt])


def _distinct(rows: Sequence[Heard], taken: set[bytes]) -> list[Heard]:
    """Rows whose token ids are not in `taken` and not those of an earlier row; empty responses are left out."""
    seen, kept = set(taken), []
    for row in rows:
        if row.ids and row.ids not in seen:
            seen.add(row.ids)
            kept.append(row)
    return kept
