"""Supervised fine-tuning on each group's own right answers and on those borrowed from its peers.

Rejection sampling fine-tuning (RAFT, arXiv 2504.11343) where nothing is borrowed ('candidates.borrowed: 0'). Every
group counts the same (alpha 0), different answers cost nothing (lambda 0). With `facts` the truth itself is
imitated too, short and in logged wordings.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import AnswerLikelihoodSpec, UtilitySpec
from trialign_ray.objective.answer_likelihood import AnswerLikelihood
from trialign_ray.objective.losses.likelihood import Likelihood
from trialign_ray.objective.step import Objective


def sft(*, utility: UtilitySpec, facts: AnswerLikelihoodSpec | None) -> Objective:
    """Maximum likelihood of the best right candidates."""
    terms = None if facts is None else AnswerLikelihood(**dict(facts))
    return Objective(loss=Likelihood(), facts=terms, w_truth=utility.w_truth)
