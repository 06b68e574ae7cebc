"""Divide a step's trees over ranks and passes, so that a rank never holds the activations of more than a budget.

The objective needs the log-probs of the whole step, and its gradient needs one slope for each of them. So a step that
takes several passes scores them all without a gradient, and then runs each again with its slopes (gradient caching,
Gao et al., arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from trialign_ray.trainer.collate import divide_trees
from trialign_ray.trainer.packing import Tree, sizes, tree_nodes


@dataclass(frozen=True, slots=True)
class Budget:
    """What a pass may hold, in a unit of its own: rows of T slots count rows x (row + token T + pair T^2)."""

    room: float
    token: float
    pair: float = 0.0
    row: float = 0.0

    @classmethod
    def of_tokens(cls, tokens: int) -> Self:
        """So many slots of packed rows."""
        return cls(tokens, 1)

    def holds(self, rows: int, width: int) -> bool:
        """Whether a pass of `rows` rows of `width` slots is within it."""
        return rows * (self.row + self.token * width + self.pair * width**2) <= self.room


WHOLE = Budget(float("inf"), 1)
"""No limit: a step is one pass."""


@dataclass(frozen=True, slots=True)
class Passes:
    """A step's trees by rank and pass."""

    trees: tuple[Tree, ...]
    """All of the step, those above the budget in parts; their responses are numbered as in the whole trees."""
    indices: tuple[tuple[tuple[int, ...], ...], ...]
    """Indices of the trees of each pass of each rank. All ranks have as many passes, some of them without a tree: under
    ZeRO 3 they gather the weights together."""

    def of_rank(self, rank: int) -> list[list[Tree]]:
        """The trees of each pass."""
        return [[self.trees[i] for i in part] for part in self.indices[rank]]

    def numbers(self) -> list[Tensor]:
        """For each rank the numbers of its responses, pass by pass."""
        ends = torch.tensor([0, *(len(tree.responses) for tree in self.trees)]).cumsum(0)
        none = torch.arange(0)
        return [
            torch.cat([none, *(torch.arange(int(ends[i]), int(ends[i + 1])) for part in parts for i in part)])
            for parts in self.indices
        ]


def divide(trees: Sequence[Tree], ranks: int, budget: Budget, *, apart: bool = False) -> Passes:
    """Passes within the budget; one of a single response may be larger. apart: each response is a row of its own."""
    cut = _responses_of if apart else _split
    cuts = {key: tuple(cut(tree, budget)) for key, tree in {id(tree): tree for tree in trees}.items()}
    parts = tuple(part for tree in trees for part in cuts[id(tree)])
    size = sizes(parts)
    passes = [_fill(share, size, budget) for share in divide_trees(parts, ranks)]
    most = max(1, *map(len, passes))
    # The largest last: a step keeps the graph of its last pass.
    return Passes(parts, tuple((*[()] * (most - len(each)), *reversed(each)) for each in passes))


def _fill(share: Sequence[int], size: Sequence[int], budget: Budget) -> list[tuple[int, ...]]:
    """Passes of trees of like size, the largest first: a pass is as many rows as trees, as wide as its largest."""
    passes: list[tuple[int, ...]] = []
    for index in sorted(share, key=lambda i: (-size[i], i)):
        if passes and budget.holds(len(passes[-1]) + 1, size[passes[-1][0]]):
            passes[-1] += (index,)
        else:
            passes.append((index,))
    return passes


def _split(tree: Tree, budget: Budget) -> Iterator[Tree]:
    """`tree`, or runs of its responses behind a copy of its prompt each, each within the budget where it can be."""
    if budget.holds(1, tree_nodes(tree)):
        yield tree
        return
    start, filled = 0, len(tree.prompt)
    for stop, response in enumerate(tree.responses):
        if stop > start and not budget.holds(1, filled + len(response) - 1):
            yield _part(tree, start, stop)
            start, filled = stop, len(tree.prompt)
        filled += len(response) - 1
    yield _part(tree, start, len(tree.responses))


def _responses_of(tree: Tree, _: Budget) -> Iterator[Tree]:
    for s in range(len(tree.responses)):
        yield _part(tree, s, s + 1)


def _part(tree: Tree, start: int, stop: int) -> Tree:
    return replace(tree, responses=tree.responses[start:stop], unscored=tree.unscored[start:stop])
