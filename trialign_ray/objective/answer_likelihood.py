"""Plain likelihood of the true answer, beside that of logged responses: what answer-level terms have to beat.

    loss = - mean over (q, g) of short * log pi(truth | prompt) + frames * mean_f log pi(frame_f, truth | prompt)

in nats of whole responses. Every word of the vocabulary competes with the truth here, the frame's own probability
counts, no group's answer is compared with another's, and other answers are not read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trialign_ray.objective.answers import AnswerSets, AnswerTerms, FactOutputs, answer_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLikelihood:
    """The weights of the two kinds."""

    short: float
    """Weight of the short answer."""
    frames: float
    """Weight of the answer in logged wordings."""

    def __call__(self, logp_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor) -> FactOutputs:
        """The loss on the scores of a step. weight_g: the groups' fairness weights, [groups]."""
        known_qgf = answers.mask_qgfa[..., 0] & answers.known_q[:, None, None]
        truth_qgf = (logp_qgfa.masked_fill(~answers.mask_qgfa, 0.0) * answers.right_qa[:, None, None]).sum(-1)
        short_qg = truth_qgf[..., 0] * known_qgf[..., 0]
        frames_qg = (truth_qgf * known_qgf)[..., 1:].sum(-1) / known_qgf[..., 1:].sum(-1).clamp(min=1)
        liked_qg = weight_g * (self.short * short_qg + self.frames * frames_qg)
        right_qgf = (answer_policy(logp_qgfa.detach(), answers) * answers.right_qa[:, None, None]).sum(-1)
        return FactOutputs(
            loss=-(liked_qg.sum(1) / answers.asked_q()).mean(),
            right_short_g=_mean_g(right_qgf[..., :1], known_qgf[..., :1]),
            right_frames_g=_mean_g(right_qgf[..., 1:], known_qgf[..., 1:]),
            penalty=logp_qgfa.new_zeros(()),
            coefficient=0.0,
        )


@dataclass(frozen=True, slots=True)
class WithLikelihood:
    """Other answer-level terms and the likelihood beside them."""

    terms: AnswerTerms
    likelihood: AnswerLikelihood

    def __call__(self, logp_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor) -> FactOutputs:
        """The sum of both losses; all else is of the terms."""
        found = self.terms(logp_qgfa, answers, weight_g)
        return replace(found, loss=found.loss + self.likelihood(logp_qgfa, answers, weight_g).loss)


def _mean_g(right_qgf: Tensor, known_qgf: Tensor) -> Tensor:
    """Mean over questions of each one's mean over frames, [groups]; NaN for a group that has none."""
    frames_qg = known_qgf.sum(-1)
    right_qg = torch.where(known_qgf, right_qgf, 0.0).sum(-1) / frames_qg.clamp(min=1)
    return right_qg.sum(0) / (frames_qg > 0).sum(0)
