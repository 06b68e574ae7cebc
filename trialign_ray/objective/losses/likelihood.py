"""Maximum likelihood of the best candidates: rejection sampling fine-tuning (RAFT, arXiv 2504.11343).

Where the truth is known a best candidate must be right: a question that a group has only wrong answers to is left
out. Elsewhere it is the limit of AWR as its temperature goes to 0, except that AWR learns nothing from candidates that
are all equally good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trialign_ray.objective.losses.base import LossInputs, LossOutputs, effective_samples


@dataclass(frozen=True, slots=True)
class Likelihood:
    """- mean over the best candidates of logp / length."""

    needs_reference: ClassVar[bool] = False

    def __call__(self, inputs: LossInputs) -> LossOutputs:
        """Candidates of equal utility share the weight of one response."""
        candidates = inputs.candidates
        taught_qgk = (candidates.truth_qgk > 0) | ~candidates.objective_q[:, None, None]
        best_qgk = candidates.best_qgk() * taught_qgk
        weight_qgk = best_qgk / best_qgk.sum(-1, keepdim=True).clamp(min=1)
        per_token_qgk = inputs.logp_qgk / candidates.length_qgk
        return LossOutputs(-(weight_qgk * per_token_qgk).sum(-1), effective_samples(weight_qgk))
