"""TriAlign (arXiv 2606.01755; a reconstruction, since the paper's equations are not public).

    J = W(U) - lambda * E[D] - beta * mean_i KL(pi_i || pi_ref)

on logged responses, and with `facts` W(P(right)) - lambda * D(P) on a closed set of answers beside it.

Each part is chosen by the specification; its ablations are this algorithm with parts of weight 0.
"""

from __future__ import annotations

from trialign_ray.config.algorithm import FactsSpec, InconsistencySpec, UtilityOf, UtilitySpec
from trialign_ray.config.base import Strict
from trialign_ray.config.losses import LOSSES
from trialign_ray.config.seams import build
from trialign_ray.config.welfare import WELFARES
from trialign_ray.objective.answer_likelihood import AnswerLikelihood, WithLikelihood
from trialign_ray.objective.answers import AnswerTerms, FactTerms
from trialign_ray.objective.step import Objective


def trialign(
    *,
    utility: UtilitySpec,
    loss: Strict,
    welfare: Strict,
    utility_decay: float,
    utility_of: UtilityOf,
    inconsistency: InconsistencySpec,
    facts: FactsSpec | None,
    kl: float,
) -> Objective:
    """The objective with the loss and the welfare function that their specifications name."""
    return Objective(
        loss=build(LOSSES, loss),
        welfare=build(WELFARES, welfare, "family"),
        inconsistency=inconsistency,
        facts=None if facts is None else _answer_terms(facts),
        kl=kl,
        w_truth=utility.w_truth,
        utility_decay=utility_decay,
        utility_of=utility_of,
    )


def _answer_terms(facts: FactsSpec) -> AnswerTerms:
    terms = FactTerms(short=facts.short, frames=facts.frames, alpha=facts.alpha, inconsistency=facts.inconsistency)
    if facts.likelihood is None:
        return terms
    return WithLikelihood(terms, AnswerLikelihood(**dict(facts.likelihood)))
