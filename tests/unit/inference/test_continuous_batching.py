"""The paged path gives what the model's plain forward gives; its draws follow from the call alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import tiny_model
from tests.unit.inference.test_transformers import END, VOCABULARY, full_logprobs, prompts, seeds
from tests.unit.trainer.guard.shapes import hybrids
from trialign_ray.errors import ModelError
from trialign_ray.inference import continuous_batching
from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.inference.continuous_batching import ContinuousBatchingEngine, ContinuousBatchingGenerator
from trialign_ray.inference.transformers import TransformersGenerator
from trialign_ray.trainer.guard.tiny import tiny_model as tiny_copy


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


def answers(model: Any, sampling: Sampling, rows: int = 192, stop: tuple[int, ...] = (END,)) -> list[list[Generated]]:
    seed = seeds(7, sampling.samples)
    return ContinuousBatchingGenerator(model, rows).generate(prompts(), seed, sampling, stop)


def ids(rows: list[list[Generated]]) -> list[list[list[int]]]:
    return [[response.ids for response in row] for row in rows]


@pytest.mark.parametrize("rows", [1, 3, 192])
def test_greedy_answers_are_those_of_the_loop_of_our_own(model: Any, rows: int) -> None:
    expected = TransformersGenerator(model).generate(prompts(), seeds(7, 1), Sampling(12), (END,))
    found = answers(model, Sampling(12), rows)
    assert ids(found) == ids(expected)
    for (one,), (other,) in zip(found, expected, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.finished == other.finished


def test_greedy_samples_of_a_prompt_are_equal(model: Any) -> None:
    assert ids(answers(model, Sampling(6, 0.0, 3))) == [row * 3 for row in ids(answers(model, Sampling(6)))]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_log_probs_are_those_of_the_distribution_that_was_sampled_from(model: Any, temperature: float) -> None:
    for prompt, row in zip(prompts(), answers(model, Sampling(8, temperature, 3)), strict=True):
        for response in row:
            expected = full_logprobs(model, prompt, response.ids, temperature)
            assert response.logprobs == pytest.approx(expected, abs=1e-4)


def test_frequencies_are_the_probabilities(model: Any) -> None:
    """The most surprising of 512 tokens is within five standard errors in 4000 draws of the first token."""
    draws, prompt = 4000, [7, 8, 9]
    (row,) = ContinuousBatchingGenerator(model).generate([prompt], seeds(1, draws), Sampling(1, 1.0, draws), (END,))
    counts = np.bincount([response.ids[0] for response in row], minlength=VOCABULARY)
    with torch.inference_mode():
        share = model(input_ids=torch.tensor([prompt])).logits[0, -1].double().softmax(-1).numpy()
    error = np.sqrt(draws * share * (1 - share)) + 1
    assert (np.abs(counts - draws * share) / error).max() < 5


def test_the_same_call_gives_the_same_responses_and_another_seed_gives_others(model: Any) -> None:
    sampling = Sampling(8, 1.3, 2)
    first = answers(model, sampling, rows=3)
    assert ids(answers(model, sampling, rows=3)) == ids(first)
    other = ContinuousBatchingGenerator(model, 3).generate(prompts(), seeds(7, 2, first=100), sampling, (END,))
    assert ids(other) != ids(first)


def test_the_caller_s_random_numbers_are_left_alone(model: Any) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    answers(model, Sampling(4, 1.0, 2))
    assert torch.equal(torch.rand(3), expected)


def test_samples_of_a_prompt_differ(model: Any) -> None:
    assert all(len(set(map(tuple, row))) > 1 for row in ids(answers(model, Sampling(8, 1.3, 4))))


@pytest.mark.parametrize("budget", [1, 2, 9])
def test_the_budget_is_kept(model: Any, budget: int) -> None:
    found = [row[0] for row in answers(model, Sampling(budget), stop=())]
    assert {len(response.ids) for response in found} == {budget}
    assert all(len(response.logprobs) == budget and not response.finished for response in found)


def test_a_response_ends_at_a_stop_id_and_says_so(model: Any) -> None:
    free = [row[0].ids for row in answers(model, Sampling(12), stop=())]
    stop = free[0][3]
    for ids_, (found,) in zip(free, answers(model, Sampling(12), stop=(stop,)), strict=True):
        assert found.ids == (ids_[: ids_.index(stop) + 1] if stop in ids_ else ids_)
        assert found.finished == (stop in ids_)


def test_progress_counts_every_prompt_once(model: Any) -> None:
    done: list[int] = []
    ContinuousBatchingGenerator(model, 4).generate(prompts(), seeds(7, 2), Sampling(2, 1.0, 2), (END,), done.append)
    assert sum(done) == 7


def test_nothing_asked_is_nothing_answered(model: Any) -> None:
    assert ContinuousBatchingGenerator(model).generate([], [], Sampling(2), (END,)) == []


def test_layers_without_a_paged_cache_are_refused_when_the_model_is_loaded(tmp_path: Path) -> None:
    tiny_copy(hybrids()["lfm2"]).save_pretrained(str(tmp_path), safe_serialization=True)
    with pytest.raises(ModelError, match=r"no cache for its layers: .*Use the generator 'transformers'"):
        ContinuousBatchingEngine(rows=8).load(tmp_path, None, "float32", "cpu")


def test_log_probs_that_a_plain_forward_does_not_give_are_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for a feature of attention that the paged path leaves out: every log-prob is a little off."""

    def shifted(output: Any, stops: set[int]) -> Generated:
        return Generated(list(output.generated_tokens), [value - 0.02 for value in output.logprobs], False)

    monkeypatch.setattr(continuous_batching, "_generated", shifted)
    with pytest.raises(ModelError, match=r"0\.020 nats a token away .*Use the generator 'transformers'"):
        answers(model, Sampling(4))


def test_what_the_library_fails_at_ends_the_call_with_its_reason(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no room")

    monkeypatch.setattr(model, "forward", broken)
    with pytest.raises(ModelError, match=r"continuous batching (failed|stopped): no room"):
        answers(model, Sampling(4))
