"""What a group actor tells of itself, and what a checkpoint keeps of it: all that the logs do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trialign_ray.data.batch import Floats

Statistics = Mapping[str, float | None]
"""Figures of one group or of the whole step, by name; None where a step has no such figure."""


@dataclass(frozen=True, slots=True)
class BufferState:
    """Reference log-probs as flat arrays, ready to be written as they are.

    Letters: r question whose reference log-probs are known, n candidate over all of them.
    """

    question_r: npt.NDArray[np.int32]
    """Index of each question in the buffer's `question_ids`, ascending."""
    count_r: npt.NDArray[np.int32]
    """Candidates of each question."""
    reference_logp_n: Floats
    """Log-prob of each candidate under the reference policy, in nats, float32 as it is served."""
    served: int
    """Candidates handed out so far."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group actor."""

    group: str
    buffer: BufferState
    statistics: Statistics
    """The group's fairness statistics of the last step."""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group at a glance."""

    group: str
    served: int
    """Candidates handed out so far."""
    statistics: Statistics
    """The group's fairness statistics of the last step; empty before the first."""
