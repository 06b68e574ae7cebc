"""What is wrong is refused, what is exact is packed, and what cannot branch is computed row by row."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from trialign_ray.config.attention import ApartSpec, AutoAttentionSpec, FlexSpec, MatmulSpec
from trialign_ray.config.seams import ImportedSpec
from trialign_ray.config.train import LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.models import head
from trialign_ray.trainer.attention.base import Slots
from trialign_ray.trainer.attention.matmul import MatmulAttention
from trialign_ray.trainer.guard.verdict import exact_attention, exact_on, judge

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


def test_flex_is_judged_forward_on_a_cpu_and_its_gradients_where_it_trains(caplog: pytest.LogCaptureFixture) -> None:
    found = exact_attention(config("llama"), FlexSpec(), LoraSpec(rank=2), "cuda")
    assert found.implementation == "trialign_flex"
    assert "its gradients are judged on the run's device" in caplog.text


def test_flex_is_refused_where_it_would_train_on_a_cpu() -> None:
    with pytest.raises(ModelError, match=r"'flex' has no backward on a CPU.*learner\.gpu"):
        exact_attention(config("llama"), FlexSpec(), LoraSpec(rank=2), "cpu")


def test_flex_is_refused_for_a_forward_that_is_wrong_on_a_cpu() -> None:
    with pytest.raises(ModelError, match=r"'lfm2' would get wrong.*'flex'.*carry a state"):
        exact_attention(hybrids()["lfm2"], FlexSpec(), LoraSpec(rank=2), "cuda")


class OtherKernels(MatmulAttention):
    """Sees all tokens on the device of a run, or cannot run there."""

    on_device: ClassVar[bool] = False
    fails: ClassVar[bool] = False

    def mask(self, slots: Slots, kind: Any, dtype: torch.dtype) -> torch.Tensor:
        if self.fails:
            raise RuntimeError("out of shared memory")
        right = super().mask(slots, kind, dtype)
        return torch.zeros_like(right) if self.on_device else right


def test_kernels_that_are_wrong_on_the_device_of_the_run_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, spec = config("llama"), ImportedSpec(import_path=f"{__name__}:OtherKernels")
    device = torch.device("cpu")
    assert isinstance(exact_attention(shape, spec, LoraSpec(rank=2)), OtherKernels)
    exact_on(device, shape, spec, LoraSpec(rank=2))
    monkeypatch.setattr(OtherKernels, "on_device", True)
    with pytest.raises(ModelError, match=r"'import_path' on 'cpu'\): log-probs differ by .*'matmul' or 'apart'"):
        exact_on(device, shape, spec, LoraSpec(rank=2))


def test_kernels_that_cannot_run_in_the_precision_of_the_guard_are_named_and_not_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shape, spec = config("llama"), ImportedSpec(import_path=f"{__name__}:OtherKernels")
    exact_attention(shape, spec, LoraSpec(rank=2))
    monkeypatch.setattr(OtherKernels, "fails", True)
    exact_on(torch.device("cpu"), shape, spec, LoraSpec(rank=2))
    assert "not judged in float32 on 'cpu': its forward over trees: RuntimeError: out of shared memory" in caplog.text


def test_a_copy_that_would_stay_large_is_refused_before_it_takes_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialign_ray.trainer.guard.tiny.MOST_WEIGHTS", 1_000)
    with pytest.raises(ModelError, match=r"small copy of it cannot be made: ValueError: it would have [\d,]+ weights"):
        exact_attention(config("llama", initializer_range=0.5), AUTO)
