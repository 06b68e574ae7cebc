"""Advantages: utilities standardised within each question and group, before any fairness weight.

The order matters: standardising after the weights would divide each group's weight out again.
"""

from __future__ import annotations

from torch import Tensor

from trialign_ray.objective.candidates import Candidates


def standardise(candidates: Candidates) -> Tensor:
    """(u - mean) / std over the candidates of each (question, group), [q, g, k]; 0 where all utilities are equal."""
    mask = candidates.mask_qgk
    count_qg1 = mask.sum(-1, keepdim=True)
    mean_qg1 = (candidates.utility_qgk * mask).sum(-1, keepdim=True) / count_qg1
    centred = (candidates.utility_qgk - mean_qg1) * mask
    std_qg1 = (centred.square().sum(-1, keepdim=True) / count_qg1).sqrt()
    signal_qg1 = candidates.with_signal_qg()[..., None]
    return (centred / std_qg1.clamp(min=1e-12)).masked_fill(~signal_qg1, 0.0)
