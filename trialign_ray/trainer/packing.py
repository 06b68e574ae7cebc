"""Pack the responses to one prompt into a token tree, so that every distinct prefix is computed once.

K responses behind one prompt share the prompt, and often their first words too. The tree of all distinct prefixes
holds each of them once; a node attends to its ancestors alone and sits at its depth, so that its hidden state is
what it would be in its own sequence. Trees are laid side by side in rows.

    prompt ─ The ─ capital ─ is ─ Paris
                          └─ of ─ ...          nodes: tokens; a response: a path; a log-prob: a (node, next token) pair

Nodes are laid in pre-order, a node before everything below it. So the nodes below slot k are the slots up to some end,
and slot q sees slot k where k <= q < end[k]: two comparisons, and no [tokens x tokens] table.

The trees of a step differ much in size. One row for each, padded to the largest, would be mostly padding, and one long
row would make attention quadratic in the whole step; so the width is that of the largest tree, and small trees fill up
what larger ones leave free (first-fit decreasing: at most 11/9 of the fewest rows, plus one; Dosa 2007).

Letters: r row, t slot in a row, n scored node, p (node, next token) pair, m response token, s response, j depth below
the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_NOTHING = -1
"""Where a response has ended; sorts before every token."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A prompt and its responses, each a sequence of token ids; none may be empty."""

    prompt: Sequence[int]
    responses: Sequence[Sequence[int]]
    unscored: Sequence[int] = ()
    """For each response how many of its first tokens have no log-prob, since they belong to a prompt; empty for none.
    So a tree holds several prompts that begin alike."""
    group: int = 0
    """Index of the group whose prompt it is."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Trees as one rectangle of tokens, and where each response's log-probs are found in it."""

    ids_rt: Ints
    position_rt: Ints
    end_rt: Ints
    """The slot behind the last one below each slot: slot q sees slot k of its row where k <= q < end[k]."""
    node_n: Ints
    """Flat slot (r * T + t) of every node whose next token is scored."""
    pair_node_p: Ints
    """Index into node_n."""
    pair_token_p: Ints
    """The next token that is scored there."""
    token_pair_m: Ints
    """For each token of each response, in order: its pair."""
    token_response_m: Ints
    """For each token of each response, in order: its response, numbered over all trees."""
    responses: int

    @property
    def tokens(self) -> int:
        """Response tokens, each response counted in full: the unit of throughput."""
        return len(self.token_pair_m)


@dataclass(frozen=True, slots=True)
class _Nodes:
    """A tree in pre-order."""

    token: Ints
    depth: Ints
    end: Ints
    path_m: Ints
    """For each token of each response the node at which it is predicted."""


def tree_nodes(tree: Tree) -> int:
    """How many slots `tree` takes in a row."""
    return len(_grow(tree).token)


def sizes(trees: Sequence[Tree]) -> list[int]:
    """`tree_nodes` of each. A tree that is there several times, as in a step of given lengths, is grown once."""
    size = {key: tree_nodes(tree) for key, tree in {id(tree): tree for tree in trees}.items()}
    return [size[id(tree)] for tree in trees]


def pack(trees: Sequence[Tree]) -> Packed:
    """Lay `trees` into as few rows as first-fit-decreasing finds, as wide as the largest tree."""
    grown = [_grow(tree) for tree in trees]
    width = max(len(nodes.token) for nodes in grown)
    return _lay(trees, grown, _first_fit([len(nodes.token) for nodes in grown], width), width)


def pack_apart(trees: Sequence[Tree]) -> Packed:
    """Lay each response into a row of its own, behind its own copy of the prompt, in the order of the trees.

    What is in such a row is what a model without trees is given: for layers that carry a state from token to token.
    """
    alone = [
        Tree(tree.prompt, [response], tree.unscored[s : s + 1])
        for tree in trees
        for s, response in enumerate(tree.responses)
    ]
    grown = [_grow(tree) for tree in alone]
    return _lay(alone, grown, [(row, 0) for row in range(len(alone))], max(len(nodes.token) for nodes in grown))


def _lay(trees: Sequence[Tree], grown: Sequence[_Nodes], slots: Sequence[tuple[int, int]], width: int) -> Packed:
    """slots: row and first slot of each tree."""
    rows = 1 + max(row for row, _ in slots)
    ids, position = np.zeros((rows, width), np.int64), np.zeros((rows, width), np.int64)
    # An unused slot sees itself alone: a row of the softmax with nothing in it would be NaN.
    end = np.broadcast_to(np.arange(1, width + 1), (rows, width)).copy()
    for nodes, (row, start) in zip(grown, slots, strict=True):
        part = slice(start, start + len(nodes.token))
        ids[row, part], position[row, part], end[row, part] = nodes.token, nodes.depth, nodes.end + start
    flat_m = np.concatenate([nodes.path_m + row * width + at for nodes, (row, at) in zip(grown, slots, strict=True)])
    return Packed(ids, position, end, *_pairs(trees, flat_m))


def _grow(tree: Tree) -> _Nodes:
    """The responses in the order of their tokens are the tree's branches in pre-order: a node is new where a response
    leaves the one before it.
    """
    if not tree.prompt or not all(map(len, tree.responses)):
        raise ValueError("a tree needs a prompt and responses of at least one token each; leave empty ones out")
    said = [list(response) for response in tree.responses]
    order = sorted(range(len(said)), key=lambda s: said[s][:-1])
    length_s = np.array([len(said[s]) - 1 for s in order], np.int64)  # the last token is predicted, and not a node
    depth_j = np.arange(max(length_s, default=0))
    token_sj = np.full((len(said), len(depth_j)), _NOTHING, np.int64)
    token_sj[depth_j < length_s[:, None]] = np.array([token for s in order for token in said[s][:-1]], np.int64)
    new_sj = _new(token_sj) & (depth_j < length_s[:, None])
    start = len(tree.prompt)
    before_s = start + np.concatenate([[0], new_sj.sum(1).cumsum()])
    node_sj = np.where(new_sj, start - 1 + new_sj.cumsum().reshape(new_sj.shape), 0)
    # A response shares the node that the last one before it made at this depth.
    node_sj = np.maximum.accumulate(node_sj, axis=0) if len(said) else node_sj
    return _Nodes(
        token=np.concatenate([np.array(tree.prompt, np.int64), token_sj[new_sj]]),
        depth=np.concatenate([np.arange(start), start + np.nonzero(new_sj)[1]]),
        end=np.concatenate([np.full(start, before_s[-1]), _ends(token_sj, before_s)[new_sj]]),
        path_m=_paths(node_sj, length_s, np.argsort(order), start - 1),
    )


def _new(token_sj: Ints) -> npt.NDArray[np.bool_]:
    """Where a response has left the one before it, at this depth or above."""
    new_sj = np.ones(token_sj.shape, bool)
    new_sj[1:] = np.logical_or.accumulate(token_sj[1:] != token_sj[:-1], axis=1)
    return new_sj


def _ends(token_sj: Ints, before_s: Ints) -> Ints:
    """The end of the node that a response makes at a depth: nodes so far at the next one that has left it there.

    before_s: nodes before each response, and all of them last.
    """
    left_sj = np.where(_new(token_sj), before_s[:-1, None], before_s[-1])
    next_sj = np.concatenate([left_sj[1:], np.full((1, left_sj.shape[1]), before_s[-1])])
    return np.minimum.accumulate(next_sj[::-1], axis=0)[::-1]


def _paths(node_sj: Ints, length_s: Ints, place_s: Ints, root: int) -> Ints:
    """For each token of each response, in the tree's order, its node: the prompt's last for the first token.

    place_s: row of each response.
    """
    path_sj = np.concatenate([np.full((len(node_sj), 1), root), node_sj], axis=1)
    there_sj = np.arange(path_sj.shape[1]) <= length_s[:, None]
    return path_sj[place_s][there_sj[place_s]]


def _first_fit(sizes: Sequence[int], width: int) -> list[tuple[int, int]]:
    """Row and first slot of each tree, the largest laid first."""
    used: list[int] = []
    slots = [(0, 0)] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        row = next((r for r, filled in enumerate(used) if filled + sizes[index] <= width), len(used))
        if row == len(used):
            used.append(0)
        slots[index] = (row, used[row])
        used[row] += sizes[index]
    return slots


def _pairs(trees: Sequence[Tree], flat_m: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints, int]:
    """The last six fields of `Packed`. A (node, next token) pair that several responses share is scored once.

    flat_m: flat slot of the node of each token of each response.
    """
    said = [response for tree in trees for response in tree.responses]
    skip = [skipped for tree in trees for skipped in tree.unscored or [0] * len(tree.responses)]
    length_s = np.array([len(response) for response in said], np.int64)
    response_m = np.repeat(np.arange(len(said)), length_s)
    place_m = np.arange(len(flat_m)) - np.repeat(length_s.cumsum() - length_s, length_s)
    scored_m = place_m >= np.array(skip, np.int64)[response_m]
    token_m = np.array([token for response in said for token in response], np.int64)[scored_m]
    base = int(token_m.max(initial=0)) + 1
    pair_p, token_pair_m = np.unique(flat_m[scored_m] * base + token_m, return_inverse=True)
    node_n, pair_node_p = np.unique(pair_p // base, return_inverse=True)
    return node_n, pair_node_p, pair_p % base, token_pair_m, response_m[scored_m], len(said)
