"""Pack the responses to one prompt into a token tree, so that every distinct prefix is computed once.

K responses behind one prompt share the prompt, and often their first words too. The tree of all distinct prefixes
holds each of them once; a node attends to its ancestors alone and sits at its depth, so that its hidden state is
what it would be in its own sequence. Trees are laid side by side in rows.

    prompt ─ The ─ capital ─ is ─ Paris
                          └─ of ─ ...          nodes: tokens; a response: a path; a log-prob: a (node, next token) pair

The trees of a step differ much in size. One row for each, padded to the largest, would be mostly padding, and one long
row would make attention quadratic in the whole step; so the width is that of the largest tree, and small trees fill up
what larger ones leave free (first-fit decreasing: at most 11/9 of the fewest rows, plus one; Dosa 2007).

Letters: r row, t slot in a row, n scored node, p (node, next token) pair, m response token, s response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


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
    visible_rtt: npt.NDArray[np.bool_]
    """Whether slot t (second axis) sees slot t' (third axis)."""
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


@dataclass(slots=True)
class _Nodes:
    """A tree while it grows."""

    token: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    child: dict[tuple[int, int], int] = field(default_factory=dict)
    paths: list[list[int]] = field(default_factory=list)
    """For each response the nodes at which its tokens are predicted."""

    def step(self, parent: int, token: int) -> int:
        """The child of `parent` with `token`, made where there is none."""
        found = self.child.get((parent, token))
        if found is not None:
            return found
        self.token.append(token)
        self.depth.append(self.depth[parent] + 1 if parent >= 0 else 0)
        self.parent.append(parent)
        self.child[parent, token] = len(self.token) - 1
        return len(self.token) - 1


def tree_nodes(tree: Tree) -> int:
    """How many slots `tree` takes in a row."""
    return len(_grow(tree).token)


def pack(trees: Sequence[Tree]) -> Packed:
    """Lay `trees` into as few rows as first-fit-decreasing finds, as wide as the largest tree."""
    grown = [_grow(tree) for tree in trees]
    width = max(len(nodes.token) for nodes in grown)
    slots = _first_fit(sorted(range(len(grown)), key=lambda i: -len(grown[i].token)), grown, width)
    rows = 1 + max(row for row, _ in slots.values())
    ids, position = np.zeros((rows, width), np.int64), np.zeros((rows, width), np.int64)
    # An unused slot sees itself alone: a row of the softmax with nothing in it would be NaN.
    visible = np.broadcast_to(np.eye(width, dtype=bool), (rows, width, width)).copy()
    for index, (row, start) in slots.items():
        nodes, part = grown[index], slice(start, start + len(grown[index].token))
        ids[row, part], position[row, part] = nodes.token, nodes.depth
        visible[row, part, part] = _ancestors(nodes.parent)
    offsets = [row * width + start for row, start in (slots[i] for i in range(len(grown)))]
    return Packed(ids, position, visible, *_pairs(trees, grown, offsets))


def _grow(tree: Tree) -> _Nodes:
    if not tree.prompt or not all(tree.responses):
        raise ValueError("a tree needs a prompt and responses of at least one token each; leave empty ones out")
    nodes = _Nodes()
    root = -1
    for token in tree.prompt:
        root = nodes.step(root, token)
    for response in tree.responses:
        at, path = root, [root]
        for token in response[:-1]:
            at = nodes.step(at, token)
            path.append(at)
        nodes.paths.append(path)
    return nodes


def _first_fit(order: Sequence[int], grown: Sequence[_Nodes], width: int) -> dict[int, tuple[int, int]]:
    """Row and first slot of each tree, the trees in this order."""
    used: list[int] = []
    slots = {}
    for index in order:
        size = len(grown[index].token)
        row = next((r for r, filled in enumerate(used) if filled + size <= width), len(used))
        if row == len(used):
            used.append(0)
        slots[index] = (row, used[row])
        used[row] += size
    return slots


def _ancestors(parent: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which nodes each node sees, [nodes, nodes]; a parent comes before its children, so one pass is enough."""
    seen = np.eye(len(parent), dtype=bool)
    for node, above in enumerate(parent):
        if above >= 0:
            seen[node] |= seen[above]
    return seen


def _pairs(
    trees: Sequence[Tree], grown: Sequence[_Nodes], offsets: Sequence[int]
) -> tuple[Ints, Ints, Ints, Ints, Ints, int]:
    """The last six fields of `Packed`. A (node, next token) pair that several responses share is scored once."""
    node_of: dict[int, int] = {}
    pair_of: dict[tuple[int, int], int] = {}
    token_pair, token_response, response = [], [], 0
    for tree, nodes, offset in zip(trees, grown, offsets, strict=True):
        starts = tree.unscored or [0] * len(tree.responses)
        for path, tokens, start in zip(nodes.paths, tree.responses, starts, strict=True):
            for index, token in zip(path[start:], tokens[start:], strict=True):
                node = node_of.setdefault(offset + index, len(node_of))
                token_pair.append(pair_of.setdefault((node, token), len(pair_of)))
                token_response.append(response)
            response += 1
    pairs = np.array(list(pair_of), np.int64).reshape(-1, 2)
    return (
        np.array(list(node_of), np.int64),
        pairs[:, 0],
        pairs[:, 1],
        np.array(token_pair, np.int64),
        np.array(token_response, np.int64),
        response,
    )
