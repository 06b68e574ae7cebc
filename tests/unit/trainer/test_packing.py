from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trialign_ray.trainer.packing import Ints, Packed, Tree, pack, pack_apart, tree_nodes

from .models import compare, packed_logprobs, random_tree, tiny_llama, trees

SHARED = {
    "nothing shared": [Tree([1, 2, 3], [[4, 5], [6, 7, 8], [9]])],
    "first words shared": [Tree([1, 2, 3], [[4, 5, 6], [4, 5, 7, 8], [4, 9]])],
    "one response twice": [Tree([1, 2], [[4, 5, 6], [4, 5, 6], [7]])],
    "a response that begins another": [Tree([1, 2], [[4, 5], [4, 5, 6, 7], [4]])],
    "a response like its prompt": [Tree([4, 5], [[4, 5], [5, 4, 5]])],
    "one token": [Tree([3], [[4]])],
    "one prompt twice": [Tree([1, 2], [[4, 5], [6]]), Tree([1, 2], [[4, 5], [7, 8]])],
    "several rows": [Tree([1, 2, 3, 4, 5, 6], [[7, 8, 9]]), Tree([2] * 5, [[1, 2], [3]]), Tree([9], [[8], [7, 6, 5]])],
}


def prefixes(tree: Tree) -> set[tuple[int, ...]]:
    """Every distinct text of which some next token is scored, or that one of these begins with."""
    ends = [(*tree.prompt, *response[:-1]) for response in tree.responses] or [tuple(tree.prompt)]
    return {end[: length + 1] for end in ends for length in range(len(end))}


def slots_of(packed: Packed) -> list[tuple[int, int]]:
    """Row and slot of the node at which each response token is scored."""
    width = packed.ids_rt.shape[1]
    flat = packed.node_n[packed.pair_node_p[packed.token_pair_m]]
    return [divmod(int(slot), width) for slot in flat]


def seen_slots(packed: Packed, row: int, slot: int) -> Ints:
    """The slots that a node sees."""
    before = np.arange(slot + 1)
    return before[packed.end_rt[row, : slot + 1] > slot]


def seen_from(packed: Packed, row: int, slot: int) -> list[int]:
    """The tokens that a node sees, in the order of their positions."""
    seen = seen_slots(packed, row, slot)
    return [int(token) for token in packed.ids_rt[row, seen[packed.position_rt[row, seen].argsort()]]]


@given(st.lists(trees(), min_size=1, max_size=5))
def test_every_node_sees_its_own_sequence_and_nothing_else(forest: Sequence[Tree]):
    packed = pack(forest)
    slots = iter(slots_of(packed))
    for tree in forest:
        for response in tree.responses:
            for length in range(len(response)):
                row, slot = next(slots)
                assert seen_from(packed, row, slot) == [*tree.prompt, *response[:length]]
    assert next(slots, None) is None


@given(st.lists(trees(), min_size=1, max_size=5))
def test_every_node_stands_at_the_position_of_its_own_sequence(forest: Sequence[Tree]):
    packed = pack(forest)
    assert (packed.end_rt > np.arange(packed.end_rt.shape[1])).all()
    for row, slot in slots_of(packed):
        seen = seen_slots(packed, row, slot)
        assert sorted(packed.position_rt[row, seen]) == list(range(len(seen)))
        assert packed.position_rt[row, slot] == len(seen) - 1


@given(st.lists(trees(), min_size=1, max_size=5))
def test_the_tokens_of_each_response_are_found_again(forest: Sequence[Tree]):
    packed = pack(forest)
    responses = [response for tree in forest for response in tree.responses]
    token_m = packed.pair_token_p[packed.token_pair_m]
    assert packed.responses == len(responses)
    assert packed.tokens == sum(map(len, responses))
    for number, response in enumerate(responses):
        assert token_m[packed.token_response_m == number].tolist() == response


@given(trees())
def test_a_tree_holds_each_distinct_prefix_once(tree: Tree):
    assert tree_nodes(tree) == len(prefixes(tree))
    assert pack([tree]).ids_rt.shape == (1, tree_nodes(tree))


@given(st.lists(trees(), min_size=1, max_size=5))
def test_nothing_is_scored_twice(forest: Sequence[Tree]):
    packed = pack(forest)
    assert len(set(packed.node_n)) == len(packed.node_n)
    pairs = list(zip(packed.pair_node_p.tolist(), packed.pair_token_p.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    scored = [
        {(*tree.prompt, *response[: i + 1]) for response in tree.responses for i in range(len(response))}
        for tree in forest
    ]
    assert len(pairs) == sum(map(len, scored))


@given(st.lists(trees(), min_size=1, max_size=5))
def test_apart_every_response_has_a_row_of_its_own(forest: Sequence[Tree]):
    packed, slots = pack_apart(forest), iter(slots_of(pack_apart(forest)))
    alone = [(tree.prompt, response) for tree in forest for response in tree.responses]
    assert len(packed.ids_rt) == len(alone)
    for row, (prompt, response) in enumerate(alone):
        found = [next(slots) for _ in response]
        assert found == [(row, len(prompt) - 1 + place) for place in range(len(response))]
        assert seen_from(packed, *found[-1]) == [*prompt, *response[:-1]]
    assert packed.pair_token_p[packed.token_pair_m].tolist() == [token for _, said in alone for token in said]


@given(st.lists(trees(), min_size=1, max_size=3), st.data())
def test_tokens_that_belong_to_a_prompt_are_not_scored(forest: Sequence[Tree], data: st.DataObject):
    skipped = [
        Tree(tree.prompt, tree.responses, [data.draw(st.integers(0, len(said))) for said in tree.responses])
        for tree in forest
    ]
    for packed in (pack(skipped), pack_apart(skipped)):
        said = [
            response[skip:] for tree in skipped for response, skip in zip(tree.responses, tree.unscored, strict=True)
        ]
        assert packed.pair_token_p[packed.token_pair_m].tolist() == [token for part in said for token in part]
        assert packed.token_response_m.tolist() == [s for s, part in enumerate(said) for _ in part]


@given(st.lists(trees(), min_size=1, max_size=8))
def test_no_two_rows_would_fit_into_one(forest: Sequence[Tree]):
    packed = pack(forest)
    rows, width = packed.ids_rt.shape
    assert width == max(map(tree_nodes, forest))
    assert sum(map(tree_nodes, forest)) * 2 > rows * width or rows == 1


def test_the_largest_tree_is_laid_first_and_rows_are_filled_to_the_brim():
    """Sizes 1, 2, 3, 2, 4 fit into three rows of four; in the order given they would take four."""
    packed = pack([Tree([5] * size, [[6]]) for size in (1, 2, 3, 2, 4)])
    assert packed.ids_rt.shape == (3, 4)
    assert (packed.ids_rt == 5).all()


def test_a_prompt_without_responses_has_nothing_to_score():
    packed = pack([Tree([1, 2], []), Tree([3], [[4]])])
    assert (packed.responses, packed.tokens) == (1, 1)
    assert packed.pair_token_p.tolist() == [4]


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("forest", SHARED.values(), ids=SHARED.keys())
def test_log_probs_and_gradients_are_those_of_each_response_by_itself(kv_heads, forest):
    compare(tiny_llama(kv_heads), forest)


def test_log_probs_and_gradients_of_a_larger_batch():
    rng = random.Random(0)
    forest = [random_tree(rng, prompt, responses) for prompt, responses in [(9, 6), (4, 2), (12, 1), (3, 8), (6, 4)]]
    assert len(pack(forest).ids_rt) > 1
    compare(tiny_llama(2), forest)


@settings(max_examples=15)
@given(st.lists(trees(), min_size=1, max_size=4))
def test_log_probs_and_gradients_of_any_trees(forest: Sequence[Tree]):
    compare(tiny_llama(2), forest)


@settings(max_examples=10)
@given(st.lists(trees(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_trees_and_responses_does_not_matter(forest: Sequence[Tree], rng: random.Random):
    model = tiny_llama(2)
    shuffled = [Tree(tree.prompt, rng.sample(list(tree.responses), len(tree.responses))) for tree in forest]
    rng.shuffle(shuffled)
    with torch.no_grad():
        logps = [by_response(order, packed_logprobs(model, pack(order))) for order in (forest, shuffled)]
    assert logps[0].keys() == logps[1].keys()
    for response, logp_m in logps[0].items():
        torch.testing.assert_close(logps[1][response], logp_m, atol=1e-5, rtol=1e-5)


def by_response(forest: Sequence[Tree], logp_m: torch.Tensor) -> dict[tuple[tuple[int, ...], ...], torch.Tensor]:
    keys = [(tuple(tree.prompt), tuple(response)) for tree in forest for response in tree.responses]
    return dict(zip(keys, torch.split(logp_m, [len(response) for _, response in keys]), strict=True))
