"""The vote is shown: how many groups gave which answer.

Votes carry most of what debate gains (Debate or Vote, arXiv 2508.17536), so this arm gives an agent the vote without
the wordings. Everybody sees the same count, the own answer among it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from trialign_ray.envs.protocols.base import Said, Shown


@dataclass(frozen=True, slots=True)
class Plurality:
    """Shows each agent the canonical answers and their counts, the most frequent first."""

    elsewhere: bool = False

    def __call__(self, question: str, group: str, said: Mapping[str, Said], /) -> Shown:
        """As `TurnProtocol` says; of equally frequent answers the first in the alphabet comes first."""
        votes = Counter(one.answer for one in said.values() if one.answer is not None)
        lines = [
            f"- {answer}: {count}" for answer, count in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))
        ]
        if silent := len(said) - votes.total():
            lines.append(f"- no clear answer: {silent}")
        counted = "\n".join(lines)
        request = (
            f"{len(said)} answers to the same question were given, so often each:\n{counted}\n"
            f"Now give your final answer to: {question}"
        )
        named = ((name, one.answer) for name, one in said.items() if name != group and one.answer is not None)
        return Shown(request, tuple(named))
