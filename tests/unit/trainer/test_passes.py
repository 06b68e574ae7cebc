"""Passes hold every response once, within the budget, and are as many on all ranks."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.trainer.models import random_tree, trees
from trialign_ray.trainer.packing import Tree, pack, pack_apart, tree_nodes
from trialign_ray.trainer.passes import Budget, divide

MANY = [random_tree(random.Random(seed), prompt=2 + seed % 5, responses=1 + seed % 4) for seed in range(13)]


@given(given_trees=st.lists(trees(), max_size=6), ranks=st.integers(1, 4), tokens=st.integers(1, 40))
def test_every_response_is_scored_once_behind_its_prompt(given_trees: list[Tree], ranks: int, tokens: int) -> None:
    divided = divide(given_trees, ranks, Budget.of_tokens(tokens))
    expected = [(tree.prompt, response) for tree in given_trees for response in tree.responses]
    found = {
        int(number): (tree.prompt, response)
        for rank, numbers in enumerate(divided.numbers())
        for number, (tree, response) in zip(
            numbers,
            ((tree, said) for part in divided.of_rank(rank) for tree in part for said in tree.responses),
            strict=True,
        )
    }
    assert [found[number] for number in range(len(expected))] == expected


@given(given_trees=st.lists(trees(), min_size=1, max_size=6), ranks=st.integers(1, 4), tokens=st.integers(1, 40))
def test_a_pass_is_within_the_budget_unless_it_is_one_response(
    given_trees: list[Tree], ranks: int, tokens: int
) -> None:
    divided = divide(given_trees, ranks, Budget.of_tokens(tokens))
    parts = [part for rank in range(ranks) for part in divided.of_rank(rank) if part]
    for part in parts:
        assert pack(part).ids_rt.size <= tokens or sum(len(tree.responses) for tree in part) == 1


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_all_ranks_have_as_many_passes(ranks: int) -> None:
    divided = divide(MANY, ranks, Budget.of_tokens(30))
    assert len({len(parts) for parts in divided.indices}) == 1
    assert len(divided.indices) == ranks


def test_a_rank_without_trees_has_an_empty_pass() -> None:
    divided = divide(MANY[:1], 3, Budget.of_tokens(1000))
    assert [divided.of_rank(rank) for rank in range(3)] == [[[MANY[0]]], [[]], [[]]]
    assert [len(numbers) for numbers in divided.numbers()] == [len(MANY[0].responses), 0, 0]


def test_what_fits_is_one_pass_of_whole_trees() -> None:
    divided = divide(MANY, 1, Budget.of_tokens(100_000))
    assert divided.trees == tuple(MANY)
    assert len(divided.of_rank(0)) == 1


def test_responses_that_lie_apart_are_counted_with_their_prompts() -> None:
    divided = divide(MANY, 2, Budget.of_tokens(30), apart=True)
    assert {len(part.responses) for part in divided.trees} == {1}
    assert all(pack_apart(part).ids_rt.size <= 30 for rank in range(2) for part in divided.of_rank(rank) if part)
    assert torch.equal(torch.cat(divided.numbers()).sort().values, torch.arange(len(divided.trees)))


def test_a_tree_above_the_budget_is_taken_apart_between_responses() -> None:
    tree = Tree([1, 2, 3], [[4, 5], [4, 6, 7], [8], [9, 9, 9, 9]], unscored=[0, 1, 0, 2], group=2)
    divided = divide([tree], 1, Budget.of_tokens(5))
    assert divided.indices == (((0,), (1,), (2,)),)
    assert [part.responses for part in divided.trees] == [[[4, 5]], [[4, 6, 7], [8]], [[9, 9, 9, 9]]]
    assert [part.unscored for part in divided.trees] == [[0], [1, 0], [2]]
    assert {part.group for part in divided.trees} == {2}
    assert [tree_nodes(part) for part in divided.trees] == [4, 5, 6]
    assert torch.equal(torch.cat(divided.numbers()).sort().values, torch.arange(4))
