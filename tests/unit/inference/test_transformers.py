"""Sampling: equal to transformers where both can, and a response that depends on its own seed alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import tiny_model
from tests.unit.trainer.guard.shapes import hybrids
from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.inference.transformers import TransformersGenerator
from trialign_ray.trainer.guard.tiny import tiny_model as tiny_copy

END = 3
VOCABULARY = 512


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


def prompts(count: int = 7) -> list[list[int]]:
    """Of lengths 1 to 17, in no order."""
    rng = np.random.default_rng(0)
    return [rng.integers(4, VOCABULARY, length).tolist() for length in rng.integers(1, 18, count)]


def seeds(count: int, samples: int, first: int = 0) -> list[list[int]]:
    return [[first + samples * row + sample for sample in range(samples)] for row in range(count)]


def greedy(model: Any, asked: list[list[int]], tokens: int = 12, stop: tuple[int, ...] = (END,)) -> list[Generated]:
    return [
        row[0] for row in TransformersGenerator(model).generate(asked, seeds(len(asked), 1), Sampling(tokens), stop)
    ]


def sampled(model: Any, asked: list[list[int]], seed: list[list[int]], **changes: Any) -> list[list[Generated]]:
    rows = changes.pop("rows", 192)
    fields: dict[str, Any] = {"max_new_tokens": 8, "temperature": 1.3, "samples": len(seed[0])}
    return TransformersGenerator(model, rows).generate(asked, seed, Sampling(**fields | changes), (END,))


def full_logprobs(model: Any, prompt: list[int], response: list[int], temperature: float) -> list[float]:
    """Log-prob of each token of the response from one forward over prompt and response."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].float()
    logp_tv = (logits / temperature).log_softmax(-1)
    picked: list[float] = logp_tv.gather(1, torch.tensor(response)[:, None])[:, 0].tolist()
    return picked


def stopping(model: Any, asked: list[list[int]]) -> int:
    """A token at which some but not all greedy responses can end early, and none at once."""
    said = [response.ids for response in greedy(model, asked, stop=())]
    inner = {token for ids in said for token in ids[1:-2]} - {ids[0] for ids in said}
    return next(token for token in sorted(inner) if sum(token in ids for ids in said) < len(said))


def test_the_head_sees_one_whole_vector_a_row(model: Any) -> None:
    """Of a strided slice PyTorch copies the head's weights for every row, in bfloat16 on a CPU."""
    seen: list[tuple[torch.Size, bool]] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, given: seen.append((given[0].shape, given[0].is_contiguous()))
    )
    greedy(model, prompts(), tokens=3, stop=())
    hook.remove()
    assert seen == [(torch.Size((7, 1, model.config.hidden_size)), True)] * 3


def test_greedy_is_transformers_generate_token_by_token(model: Any) -> None:
    for prompt, found in zip(prompts(), greedy(model, prompts()), strict=True):
        expected = model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=END, pad_token_id=1
        )
        assert found.ids == expected[0, len(prompt) :].tolist()


def test_greedy_does_not_look_at_the_seed(model: Any) -> None:
    other = TransformersGenerator(model).generate(prompts(), seeds(7, 1, first=100), Sampling(12), (END,))
    assert [row[0].ids for row in other] == [response.ids for response in greedy(model, prompts())]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_log_probs_are_those_of_the_distribution_that_was_sampled_from(model: Any, temperature: float) -> None:
    rows = sampled(model, prompts(), seeds(7, 3), temperature=temperature)
    for prompt, row in zip(prompts(), rows, strict=True):
        for response in row:
            expected = full_logprobs(model, prompt, response.ids, temperature)
            assert response.logprobs == pytest.approx(expected, abs=1e-4)


def test_greedy_log_probs_are_the_model_s_own(model: Any) -> None:
    for prompt, response in zip(prompts(), greedy(model, prompts()), strict=True):
        assert response.logprobs == pytest.approx(full_logprobs(model, prompt, response.ids, 1.0), abs=1e-4)


def test_frequencies_are_the_probabilities(model: Any) -> None:
    """The most surprising of 512 tokens is within five standard errors in 4000 draws of the first token."""
    draws, prompt = 4000, [7, 8, 9]
    rows = sampled(model, [prompt], seeds(1, draws), max_new_tokens=1, temperature=1.0)[0]
    counts = np.bincount([response.ids[0] for response in rows], minlength=VOCABULARY)
    with torch.inference_mode():
        share = model(input_ids=torch.tensor([prompt])).logits[0, -1].double().softmax(-1).numpy()
    error = np.sqrt(draws * share * (1 - share)) + 1
    assert (np.abs(counts - draws * share) / error).max() < 5


def test_a_response_is_the_same_alone_and_among_others(model: Any) -> None:
    asked, seed = prompts(), seeds(7, 2)
    together = sampled(model, asked, seed)
    for index, row in enumerate(together):
        (alone,) = sampled(model, [asked[index]], [seed[index]])
        assert [response.ids for response in alone] == [response.ids for response in row]
        for one, other in zip(alone, row, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert one.finished == other.finished


@pytest.mark.parametrize("rows", [1, 3, 192])
def test_how_many_rows_are_decoded_together_changes_nothing(model: Any, rows: int) -> None:
    found = sampled(model, prompts(), seeds(7, 2), rows=rows)
    assert [[r.ids for r in row] for row in found] == [
        [r.ids for r in row] for row in sampled(model, prompts(), seeds(7, 2))
    ]


def test_samples_of_one_prompt_differ_by_their_seeds_alone(model: Any) -> None:
    (row,) = sampled(model, prompts(1), [[4, 5, 4, 6]])
    assert row[0].ids == row[2].ids
    assert len({tuple(response.ids) for response in row}) == 3


def test_samples_share_one_prefill(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    forward = model.forward

    def watched(**inputs: Any) -> Any:
        shapes.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(model, "forward", watched)
    asked = prompts(3)
    TransformersGenerator(model).generate(asked, seeds(3, 4), Sampling(5, 1.0, 4), ())
    assert shapes == [(3, max(map(len, asked))), *[(12, 1)] * 4]


def test_a_response_ends_at_its_first_stop_id_and_says_so(model: Any) -> None:
    asked = prompts()
    stop = stopping(model, asked)
    free, stopped = greedy(model, asked, stop=()), greedy(model, asked, stop=(stop,))
    for before, after in zip(free, stopped, strict=True):
        cut = before.ids.index(stop) + 1 if stop in before.ids else len(before.ids)
        assert after.ids == before.ids[:cut]
        assert after.finished == (stop in before.ids)
        assert after.logprobs == pytest.approx(before.logprobs[:cut], abs=1e-4)


def test_ended_rows_leave_the_batch(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts()
    stop, forward = stopping(model, asked), model.forward
    widths: list[int] = []

    def watched(**inputs: Any) -> Any:
        widths.append(len(inputs["input_ids"]))
        return forward(**inputs)

    monkeypatch.setattr(model, "forward", watched)
    found = greedy(model, asked, stop=(stop,))
    assert widths == [sum(len(response.ids) > step for response in found) for step in range(len(widths))]
    assert widths[-1] < len(asked)


@pytest.mark.parametrize("budget", [1, 2, 9])
def test_the_budget_is_kept(model: Any, budget: int) -> None:
    found = greedy(model, prompts(), tokens=budget, stop=())
    assert {len(response.ids) for response in found} == {budget}
    assert all(len(response.logprobs) == budget and not response.finished for response in found)


def test_a_stop_id_as_the_last_token_of_the_budget_ends_the_response(model: Any) -> None:
    first = greedy(model, prompts(1), tokens=1, stop=())[0].ids[0]
    (response,) = greedy(model, prompts(1), tokens=1, stop=(first,))
    assert (response.ids, response.finished) == ([first], True)


def test_progress_counts_every_prompt_once(model: Any) -> None:
    done: list[int] = []
    TransformersGenerator(model, rows=4).generate(prompts(), seeds(7, 2), Sampling(2, 1.0, 2), (END,), done.append)
    assert sum(done) == 7
    assert len(done) == 4


@pytest.mark.parametrize("kind", ["lfm2", "qwen3_5_text"])
def test_layers_that_carry_a_state_generate_what_one_forward_scores(kind: str) -> None:
    """Prompts of several lengths in one batch, two samples each."""
    hybrid = tiny_copy(hybrids()[kind])
    asked = [[token % 100 + 1 for token in prompt] for prompt in prompts(4)]
    found = sampled(hybrid, asked, seeds(4, 2), temperature=1.0)
    for prompt, responses in zip(asked, found, strict=True):
        for response in responses:
            expected = full_logprobs(hybrid, prompt, response.ids, 1.0)
            assert response.logprobs == pytest.approx(expected, abs=1e-3)
