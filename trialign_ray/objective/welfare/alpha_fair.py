"""Alpha-fair welfare: alpha 0 is the mean, 1 Nash social welfare, a large alpha max-min (Mo & Walrand 2000)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trialign_ray.objective.welfare.base import normalised


@dataclass(frozen=True, slots=True)
class AlphaFair:
    """Sum over groups of (eps + U)^(1 - alpha) / (1 - alpha), or of log(eps + U) at alpha 1."""

    alpha: float = 1.0
    eps: float = 0.05
    """Keeps a group at zero utility from taking all the weight."""

    def weights(self, utility_g: Tensor) -> Tensor:
        """(eps + U)^-alpha, normalised and clipped; [groups]."""
        level_g = self.eps + utility_g
        # Only ratios matter; relative to the worst group no power overflows.
        return normalised((level_g / level_g.min()) ** -self.alpha)
