"""Options scored as one token tree have the log-probs that each has in a forward of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import save_tiny
from tests.unit.trainer.models import plain_logprobs, random_tree, tiny_llama, trees
from trialign_ray.config.attention import ApartSpec, MatmulSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.models.loading import load_model
from trialign_ray.trainer import option_scores
from trialign_ray.trainer.guard import verdict
from trialign_ray.trainer.guard.examine import Examined
from trialign_ray.trainer.option_scores import OptionScorer, load_scorer
from trialign_ray.trainer.packing import Tree, pack_apart, tree_nodes
from trialign_ray.trainer.policy import adapt, frozen_for_trees
from trialign_ray.trainer.response_logprobs import response_logprobs

FOREST = [random_tree(random.Random(seed), 3 + 5 * seed, 2 + seed) for seed in range(6)]


def scorer(model: Any) -> OptionScorer:
    return OptionScorer(model, frozen_for_trees(model, MatmulSpec()))


def one_by_one(model: Any, forest: Sequence[Tree]) -> list[list[float]]:
    """A forward for each option alone behind its prompt."""
    with torch.no_grad():
        return [[float(plain_logprobs(model, [Tree(t.prompt, [said])]).sum()) for said in t.responses] for t in forest]


@settings(max_examples=25)
@given(st.lists(trees(), min_size=1, max_size=4))
def test_scores_are_those_of_a_forward_for_each_option(forest: list[Tree]) -> None:
    found = scorer(tiny_llama(2)).logprobs(forest)
    for logp_o, expected_o in zip(found, one_by_one(tiny_llama(2), forest), strict=True):
        assert logp_o == pytest.approx(expected_o, abs=1e-5)


def test_many_passes_give_the_scores_of_one_and_count_every_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    model, done = scorer(tiny_llama(2)), list[int]()
    whole = model.logprobs(FOREST, done.append)
    assert done == [len(FOREST)]
    monkeypatch.setattr(option_scores, "NODES", 40)
    done.clear()
    for logp_o, expected_o in zip(model.logprobs(FOREST, done.append), whole, strict=True):
        assert logp_o == pytest.approx(expected_o, abs=1e-5)
    assert sum(done) == len(FOREST) < 2 * len(done)


def test_the_order_of_options_does_not_matter() -> None:
    model = scorer(tiny_llama(2))
    turned = [Tree(tree.prompt, list(reversed(tree.responses))) for tree in FOREST]
    for logp_o, turned_o in zip(model.logprobs(FOREST), model.logprobs(turned), strict=True):
        assert turned_o[::-1] == pytest.approx(logp_o, abs=1e-5)


def test_an_adapter_counts(tmp_path: Path) -> None:
    folder, tree = save_tiny(tmp_path / "model"), Tree([5, 6, 7], [[8, 9, 3], [10, 3]])
    policy = adapt(load_model(folder, "float32"), LoraSpec(rank=2), LearnerSpec(dtype="float32"), seed=0)
    for parameter in policy.trainable():
        torch.nn.init.normal_(parameter, std=0.2)
    policy.model.save_pretrained(str(tmp_path / "adapter"), safe_serialization=True)
    with torch.no_grad():
        expected = policy([tree]).tolist()
    adapted = load_scorer(folder, tmp_path / "adapter", "float32", "cpu").logprobs([tree])[0]
    assert adapted == pytest.approx(expected, abs=1e-4)
    assert adapted != pytest.approx(load_scorer(folder, None, "float32", "cpu").logprobs([tree])[0], abs=0.1)


def test_scores_of_sampling_at_a_temperature_are_those_of_logits_over_it() -> None:
    model, tree = tiny_llama(2), Tree([5, 6, 7], [[8, 9, 3], [10, 3]])
    expected = []
    for response in tree.responses:
        ids = torch.tensor([[*tree.prompt, *response]])
        with torch.no_grad():
            logp_tv = (model(input_ids=ids).logits[0] / 0.6).log_softmax(-1)
        expected.append(sum(float(logp_tv[len(tree.prompt) - 1 + at, token]) for at, token in enumerate(response)))
    sampled = OptionScorer(model, frozen_for_trees(model, MatmulSpec()), temperature=0.6)
    assert sampled.logprobs([tree])[0] == pytest.approx(expected, abs=1e-4)


def test_prompts_that_begin_alike_are_scored_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one prompt is the beginning of another, where two are the same, and where none fits the joint tree."""
    prompts = [[5, 6, 7], [5, 6, 7, 8], [5, 6, 9, 10, 11], [5, 6, 7], [12, 5]]
    forest = [Tree(prompt, [[8, 9, 3], [8, 3], [13 + at, 3]]) for at, prompt in enumerate(prompts)]
    expected = one_by_one(tiny_llama(2), forest)
    for most in (512, 12, 1):
        monkeypatch.setattr(option_scores, "JOINT_NODES", most)
        for logp_o, expected_o in zip(scorer(tiny_llama(2)).logprobs(forest), expected, strict=True):
            assert logp_o == pytest.approx(expected_o, abs=1e-5)


def test_what_prompts_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = list[int]()

    def counted(model: Any, attention: Any, forest: Sequence[Tree], temperature: float) -> Any:
        packed.extend(tree_nodes(tree) for tree in forest)
        return response_logprobs(model, attention, forest, temperature)

    monkeypatch.setattr(option_scores, "response_logprobs", counted)
    forest = [Tree([*range(2, 12), 15 + at], [[8, 3], [9, 3]]) for at in range(4)]
    scorer(tiny_llama(2)).logprobs(forest)
    assert packed == [10 + 4 * (1 + 2)]


def test_rows_that_run_apart_are_counted_and_share_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = list[tuple[int, ...]]()

    def counted(model: Any, attention: Any, forest: Sequence[Tree], temperature: float) -> Any:
        passes.append(pack_apart(forest).ids_rt.shape)
        return response_logprobs(model, attention, forest, temperature)

    monkeypatch.setattr(option_scores, "response_logprobs", counted)
    monkeypatch.setattr(option_scores, "NODES", 120)
    forest = [Tree([*range(2, 12), 15 + at], [[8, 3], [9, 3], [10, 3]]) for at in range(8)]
    model = tiny_llama(2)
    model.set_attn_implementation("eager")
    found = OptionScorer(model, frozen_for_trees(model, ApartSpec())).logprobs(forest)
    assert passes == [(9, 12), (9, 12), (6, 12)]  # of 120 slots at most, and 3 rows a tree
    for logp_o, expected_o in zip(found, one_by_one(tiny_llama(2), forest), strict=True):
        assert logp_o == pytest.approx(expected_o, abs=1e-5)


@pytest.mark.parametrize(("device", "judged"), [("cuda:0", [torch.device("cuda:0")]), ("cpu", [])])
def test_scores_are_judged_on_the_gpu_that_computes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, judged: list[torch.device]
) -> None:
    folder, asked = save_tiny(tmp_path / "model"), list[torch.device]()
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, _: self)  # no machine of the tests has a GPU
    monkeypatch.setattr(option_scores, "exact_on", lambda on, *_: asked.append(on))
    load_scorer(folder, None, "float32", device)
    assert asked == judged


def test_a_gpu_whose_scores_would_be_wrong_is_refused_before_weights_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Examined("log-probs differ by 1 nats: something")
    monkeypatch.setattr(verdict, "examine", lambda *given: wrong if given[3:] else Examined())
    monkeypatch.setattr(option_scores, "load_adapted", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises(ModelError, match=r"'auto' on 'cuda'.*Score on a CPU, and report"):
        load_scorer(save_tiny(tmp_path / "model"), None, "float32", "cuda")
