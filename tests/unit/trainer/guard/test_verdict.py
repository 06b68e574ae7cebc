"""What is wrong is refused, what is exact is packed, and what cannot branch is computed row by row."""

from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.config.attention import ApartSpec, AutoAttentionSpec, MatmulSpec
from trialign_ray.config.train import LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.models import head
from trialign_ray.trainer.guard.verdict import exact_attention, judge

from .shapes import config, draws, heads, hybrids, windows

AUTO = AutoAttentionSpec()


@pytest.mark.parametrize("shape", hybrids().values(), ids=hybrids().keys())
def test_layers_that_carry_a_state_are_computed_one_response_a_row(shape: Any) -> None:
    found = judge(shape, AUTO, LoraSpec(rank=2))
    assert (found.word, found.attention) == ("exact, unpacked", ApartSpec())
    assert "carry a state from token to token" in found.why


def test_an_attention_that_was_asked_for_and_is_wrong_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'lfm2' would get wrong.*'matmul'.*carry a state.*'auto'"):
        exact_attention(hybrids()["lfm2"], MatmulSpec())


@pytest.mark.parametrize("shape", [*heads().values(), *draws().values()], ids=[*heads(), *draws()])
def test_heads_and_noise_of_training_mode_leave_log_probs_exact(shape: Any) -> None:
    found = judge(shape, AUTO, LoraSpec(rank=2))
    assert found.word == "exact", found.why


@pytest.mark.parametrize("shape", windows().values(), ids=windows().keys())
def test_windows_caps_sinks_and_latent_attention_are_exact(shape: Any) -> None:
    found = judge(shape, AUTO, LoraSpec(rank=2))
    assert found.word == "exact", found.why


@pytest.mark.parametrize("places", ["mpt", "gpt_neo"])
def test_places_that_are_counted_in_a_row_are_right_without_trees(places: str) -> None:
    shapes: dict[str, dict[str, Any]] = {
        "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 128},
        "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4, "hidden_size": 64},
    }
    drop = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    shape = config(places, drop=drop, **shapes[places])
    assert judge(shape, AUTO, LoraSpec(rank=2)).word == "exact, unpacked"


def test_frequencies_that_follow_the_longest_sequence_of_a_batch_are_refused() -> None:
    shape = config("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    with pytest.raises(ModelError, match=r"'llama' would get wrong log-probs.*rope type 'dynamic'"):
        exact_attention(shape, AUTO)


def test_two_sets_of_frequencies_are_taken_by_each_response_s_own_length() -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 8,
        "long_factor": [1.0 + at for at in range(8)],
        "original_max_position_embeddings": 64,
    }
    shape = config("phi3", rope_parameters=rope, original_max_position_embeddings=64)
    assert judge(shape, AUTO, LoraSpec(rank=2)).word == "exact"


def test_a_head_that_is_not_known_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Granite's factor were a new one."""
    monkeypatch.setattr(head, "_DIVISORS", ())
    with pytest.raises(ModelError, match="its output head does more"):
        exact_attention(config("granite", logits_scaling=1.02, attention_multiplier=0.25), AUTO)
