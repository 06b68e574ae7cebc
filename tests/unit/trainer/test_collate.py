"""Shares of the groups become trees to score and padded candidates; nothing is lost, doubled or moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.shares import random_shares
from trialign_ray.actors.answer_forms import NO_FORMS, QuestionForms, batch_forms
from trialign_ray.data.batch import NO_ANSWER, GroupBatch
from trialign_ray.objective.candidates import UNNAMED
from trialign_ray.trainer.collate import StepBatch, assemble, divide_trees
from trialign_ray.trainer.packing import Tree, tree_nodes

from . import models

SEEDS = st.integers(0, 2**31 - 1)
SIZES = st.integers(1, 4)


def answers(share: GroupBatch, q: int) -> list[int]:
    return [int(share.answer_n[n]) for n in share.candidates(q)]


@given(SEEDS, SIZES, SIZES)
def test_candidate_k_of_a_cell_is_candidate_k_of_its_group_s_share(seed: int, groups: int, questions: int) -> None:
    shares = random_shares(seed, groups, questions)
    batch = assemble(shares)
    candidates = batch.candidates
    assert candidates.mask_qgk.shape[:2] == (questions, groups)
    for q, g in np.ndindex(questions, groups):
        numbers, share = shares[g].candidates(q), shares[g]
        part, size = slice(numbers.start, numbers.stop), len(numbers)
        assert candidates.mask_qgk[q, g].tolist() == [k < size for k in range(candidates.mask_qgk.shape[2])]
        assert candidates.utility_qgk[q, g, :size].tolist() == share.utility_n[part].tolist()
        assert candidates.truth_qgk[q, g, :size].tolist() == share.truth_n[part].tolist()
        assert candidates.own_qgk[q, g, :size].tolist() == share.own_n[part].tolist()
        assert candidates.length_qgk[q, g, :size].tolist() == [len(share.response(n)) for n in numbers]


@given(SEEDS)
def test_padding_is_neutral(seed: int) -> None:
    batch = assemble(random_shares(seed))
    candidates, padding = batch.candidates, ~batch.candidates.mask_qgk
    assert candidates.mask_qgk.any(-1).all()
    assert candidates.mask_qgk.any((0, 1)).all()
    for value_qgk in (candidates.utility_qgk, candidates.truth_qgk, candidates.reference_logp_qgk, candidates.own_qgk):
        assert not value_qgk[padding].any()
    assert (candidates.answer_qgk[padding] == UNNAMED).all()
    assert (candidates.length_qgk[padding] == 1).all()


@given(SEEDS)
def test_trees_hold_prompt_and_responses_questions_outermost(seed: int) -> None:
    shares = random_shares(seed)
    trees = assemble(shares).trees
    cells = [(q, share) for q in range(len(shares[0].objective_q)) for share in shares]
    assert len(trees) == len(cells)
    for tree, (q, share) in zip(trees, cells, strict=True):
        assert list(tree.prompt) == share.prompt(q).tolist()
        assert [list(ids) for ids in tree.responses] == [share.response(n).tolist() for n in share.candidates(q)]


@given(SEEDS)
def test_answers_are_equal_within_a_question_where_their_names_are(seed: int) -> None:
    shares = random_shares(seed)
    numbered = assemble(shares).candidates.answer_qgk
    for q in range(len(shares[0].objective_q)):
        number_of: dict[int, int] = {}
        for g, share in enumerate(shares):
            for k, name in enumerate(answers(share, q)):
                assert number_of.setdefault(name, int(numbered[q, g, k])) == numbered[q, g, k]
        named = {number for name, number in number_of.items() if name != NO_ANSWER}
        assert named == set(range(len(named)))
        assert number_of.get(NO_ANSWER, UNNAMED) == UNNAMED
        assert len(named) == len(number_of.keys() - {NO_ANSWER})


def test_names_beyond_the_precision_of_floats_stay_apart() -> None:
    (share,) = random_shares(0, groups=1, questions=1)
    large = 2**62 + np.arange(len(share.answer_n), dtype=np.int64)
    share.answer_n[:] = large
    numbers = assemble([share]).candidates.answer_qgk[0, 0]
    assert numbers.tolist() == list(range(len(large)))


def test_the_order_of_the_groups_is_that_of_the_shares() -> None:
    shares = random_shares(3)
    forward, backward = assemble(shares), assemble(shares[::-1])
    assert torch.equal(forward.candidates.utility_qgk, backward.candidates.utility_qgk.flip(1))
    assert torch.equal(forward.candidates.answer_qgk, backward.candidates.answer_qgk.flip(1))


def with_forms(shares: list[GroupBatch]) -> list[GroupBatch]:
    """Question 0 has two answers, in one frame more for each next group; the others have none."""
    none = [NO_FORMS] * (len(shares[0].objective_q) - 1)
    forms = [QuestionForms([[g, f, a] for f in range(g + 1) for a in (0, 1)], g + 1, 2) for g in range(len(shares))]
    return [replace(share, answers=batch_forms([one, *none])) for share, one in zip(shares, forms, strict=True)]


def test_forms_stand_behind_the_candidates_of_their_tree() -> None:
    shares = random_shares(4, groups=2, questions=2)
    plain, batch = assemble(shares), assemble(with_forms(shares))
    assert batch.answers is not None
    assert batch.answers.mask_qgfa.sum((2, 3)).tolist() == [[2, 4], [0, 0]]
    sizes = [len(tree.responses) for tree in plain.trees]
    assert [len(tree.responses) for tree in batch.trees] == [sizes[0] + 2, sizes[1] + 4, *sizes[2:]]
    responses = [ids for tree in batch.trees for ids in tree.responses]
    assert [responses[s] for s in batch.form_m.tolist()] == [[g, f, a] for g, f, a in FORMS]
    assert [responses[s] for s in batch.candidate_n.tolist()] == [ids for tree in plain.trees for ids in tree.responses]
    assert batch.response_tokens == plain.response_tokens


FORMS = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)]


def test_log_probs_reach_the_place_of_their_form() -> None:
    batch = assemble(with_forms(random_shares(4, groups=2, questions=2)))
    scored = batch.scored_answers(torch.arange(sum(len(tree.responses) for tree in batch.trees), dtype=torch.float64))
    assert scored is not None
    assert scored.logp_qgfa[scored.answers.mask_qgfa].tolist() == batch.form_m.tolist()
    assert not scored.logp_qgfa[~scored.answers.mask_qgfa].any()
    assert scored.answers.right_qa.tolist() == [[float(scored.answers.known_q[0]), 0.0], [0.0, 0.0]]


def test_a_reference_is_lacking_until_every_candidate_has_one() -> None:
    shares = random_shares(1)
    assert assemble(shares).lacks_reference()
    for share in shares:
        share.reference_logp_n[:] = -1.0
    assert not assemble(shares).lacks_reference()
    shares[2].reference_logp_n[-1] = np.nan
    assert assemble(shares).lacks_reference()


def test_tokens_are_counted_response_by_response() -> None:
    shares = random_shares(2)
    assert assemble(shares).response_tokens == sum(len(share.response_t) for share in shares)


def numbered(batch: StepBatch) -> torch.Tensor:
    return torch.arange(1, int(batch.candidates.mask_qgk.sum()) + 1, dtype=torch.float64)


@given(SEEDS)
def test_values_of_responses_are_spread_in_the_order_of_the_trees(seed: int) -> None:
    batch = assemble(random_shares(seed))
    value_s = numbered(batch)
    spread = batch.to_qgk(value_s)
    assert torch.equal(spread[batch.candidates.mask_qgk], value_s)
    assert not spread[~batch.candidates.mask_qgk].any()
    at = 0
    for tree, row in zip(batch.trees, spread.flatten(0, 1), strict=True):
        assert row[: len(tree.responses)].tolist() == [at + k + 1 for k in range(len(tree.responses))]
        at += len(tree.responses)


def test_the_gradient_flows_back_to_each_response_alone() -> None:
    batch = assemble(random_shares(5))
    value_s = numbered(batch).requires_grad_()
    slope_qgk = torch.randn(batch.candidates.mask_qgk.shape, dtype=torch.float64)
    (gradient_s,) = torch.autograd.grad((batch.to_qgk(value_s) * slope_qgk).sum(), value_s)
    assert torch.equal(gradient_s, slope_qgk[batch.candidates.mask_qgk])


@given(st.lists(models.trees(), min_size=1, max_size=12), st.integers(1, 5))
def test_every_tree_goes_to_exactly_one_rank(trees: list[Tree], ranks: int) -> None:
    parts = divide_trees(trees, ranks)
    assert len(parts) == ranks
    assert sorted(index for part in parts for index in part) == list(range(len(trees)))
    assert all(part == sorted(part) for part in parts)


@given(st.lists(models.trees(), min_size=1, max_size=12), st.integers(1, 5))
def test_no_rank_would_be_the_least_loaded_without_its_smallest_tree(trees: list[Tree], ranks: int) -> None:
    """Each tree went to the rank with the least so far: what bounds the largest load (Graham 1969)."""
    size = [tree_nodes(tree) for tree in trees]
    parts = divide_trees(trees, ranks)
    loads = [sum(size[index] for index in part) for part in parts]
    for load, part in zip(loads, parts, strict=True):
        assert load - min((size[index] for index in part), default=0) <= min(loads)
    assert max(loads) <= sum(size) / ranks + max(size) * (1 - 1 / ranks)


def test_large_trees_are_not_dealt_out_in_turn() -> None:
    trees = [Tree(list(range(nodes)), [[0]]) for nodes in (30, 10, 10, 10)]
    assert divide_trees(trees, 2) == [[0], [1, 2, 3]]


@pytest.mark.parametrize("ranks", [2, 3])
def test_equal_trees_are_divided_evenly(ranks: int) -> None:
    parts = divide_trees([Tree([1, 2], [[3, 4]])] * (4 * ranks), ranks)
    assert [len(part) for part in parts] == [4] * ranks


def not_asked(share: GroupBatch, q: int) -> GroupBatch:
    """The share without its prompt and candidates of question q."""
    kept = [n for other in range(len(share.objective_q)) if other != q for n in share.candidates(other)]
    prompts = [share.prompt(other) if other != q else share.prompt(q)[:0] for other in range(len(share.objective_q))]
    counts = [len(share.candidates(other)) * (other != q) for other in range(len(share.objective_q))]
    fields = ("utility_n", "truth_n", "answer_n", "own_n", "reference_logp_n")
    return replace(
        share,
        prompt_t=np.concatenate(prompts),
        prompt_offset_q=np.cumsum([0, *map(len, prompts)]),
        response_t=np.concatenate([share.response(n) for n in kept]),
        response_offset_n=np.cumsum([0, *(len(share.response(n)) for n in kept)]),
        candidate_offset_q=np.cumsum([0, *counts]),
        **{name: getattr(share, name)[kept] for name in fields},
    )


@given(SEEDS, st.integers(0, 3), st.integers(0, 2))
def test_a_group_that_was_not_asked_has_no_tree_and_moves_no_other(seed: int, q: int, g: int) -> None:
    shares = random_shares(seed)
    whole = assemble(shares)
    batch = assemble([not_asked(share, q) if at == g else share for at, share in enumerate(shares)])
    here = torch.ones(4, 3, dtype=torch.bool)
    here[q, g] = False
    assert torch.equal(batch.candidates.there_qg, here)
    assert batch.trees == tuple(tree for at, tree in enumerate(whole.trees) if at != 3 * q + g)
    wide = batch.candidates.mask_qgk.shape[2]
    assert torch.equal(batch.scored_qgk[here], whole.scored_qgk[here][:, :wide])
    assert torch.equal(batch.candidates.utility_qgk[here], whole.candidates.utility_qgk[here][:, :wide])
    assert batch.candidates.mask_qgk[q, g].tolist() == [True] + [False] * (wide - 1)
    value_s = torch.arange(1, len(batch.candidate_n) + 1, dtype=torch.float64)
    assert torch.equal(batch.to_qgk(value_s)[batch.scored_qgk], value_s)
    assert not batch.to_qgk(value_s)[q, g].any()
