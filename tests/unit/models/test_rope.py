from __future__ import annotations

import pytest

from tests.unit.trainer.guard.shapes import config
from trialign_ray.errors import ModelError
from trialign_ray.models.rope import original_length, refuse_moving_frequencies

LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 8,
    "long_factor": [2.0] * 8,
    "original_max_position_embeddings": 64,
}
PHI = config("phi3", rope_parameters=LONG, original_max_position_embeddings=64)


def test_only_longrope_has_an_original_length() -> None:
    assert original_length(PHI) == 64
    assert original_length(config("llama")) is None


@pytest.mark.parametrize(("prompts", "new"), [([3, 60], 4), ([65, 300], 200)])
def test_responses_on_one_side_of_the_border_are_generated(prompts: list[int], new: int) -> None:
    refuse_moving_frequencies(PHI, prompts, new)


@pytest.mark.parametrize(("prompts", "new"), [([3, 60], 5), ([64], 1), ([3, 65], 1)])
def test_responses_on_both_sides_are_refused(prompts: list[int], new: int) -> None:
    with pytest.raises(ModelError, match="change at 64 tokens"):
        refuse_moving_frequencies(PHI, prompts, new)


def test_dynamic_frequencies_are_refused_beyond_the_original_length() -> None:
    shape = config("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    refuse_moving_frequencies(shape, [500], 12)
    with pytest.raises(ModelError, match="rope type 'dynamic'"):
        refuse_moving_frequencies(shape, [500, 600], 13)
