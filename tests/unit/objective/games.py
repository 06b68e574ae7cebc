"""Games so small that every joint draw can be listed. Answer 0 is the truth; letters as in the objective."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from trialign_ray.objective.candidates import UNNAMED, Candidates

TRUTH = 0
W_TRUTH = 0.7


class Game(NamedTuple):
    """Candidates, and log-probs of a policy over them."""

    candidates: Candidates
    logp_qgk: Tensor


def game_of(answer: Any, preference: Any = 0.0, **changes: Any) -> Candidates:
    """Candidates with the answers [q, g, k]; `changes` replace fields."""
    answer_qgk = torch.tensor(answer)
    truth_qgk = (answer_qgk == TRUTH).double()
    fields: dict[str, Any] = {
        "utility_qgk": W_TRUTH * truth_qgk + (1 - W_TRUTH) * torch.as_tensor(preference, dtype=torch.float64),
        "truth_qgk": truth_qgk,
        "answer_qgk": answer_qgk,
        "length_qgk": torch.ones_like(answer_qgk),
        "mask_qgk": torch.ones_like(answer_qgk, dtype=torch.bool),
        "there_qg": torch.ones(answer_qgk.shape[:2], dtype=torch.bool),
        "own_qgk": torch.ones_like(answer_qgk, dtype=torch.bool),
        "reference_logp_qgk": torch.zeros_like(truth_qgk),
        "objective_q": torch.ones(len(answer_qgk), dtype=torch.bool),
    }
    return Candidates(**fields | changes)


def random_game(seed: int, questions: int, groups: int, candidates: int) -> Game:
    """A game with padding at random positions; padding holds values that would show if they were read."""
    rng = torch.Generator().manual_seed(seed)
    shape = (questions, groups, candidates)
    mask = torch.rand(shape, generator=rng) < 0.7
    mask |= torch.arange(candidates) == torch.randint(candidates, (questions, groups, 1), generator=rng)
    game = game_of(
        torch.randint(UNNAMED, 4, shape, generator=rng).masked_fill(~mask, 5).tolist(),
        preference=torch.rand(shape, generator=rng, dtype=torch.float64).masked_fill(~mask, 99.0),
        length_qgk=torch.randint(1, 6, shape, generator=rng),
        mask_qgk=mask,
        own_qgk=mask & (torch.rand(shape, generator=rng) < 0.7),
        reference_logp_qgk=torch.randn(shape, generator=rng, dtype=torch.float64).masked_fill(~mask, 0.0) * 3,
        objective_q=torch.rand(questions, generator=rng) < 0.6,
    )
    return Game(game, torch.randn(shape, generator=rng, dtype=torch.float64).masked_fill(~mask, 0.0) * 3)


def games(most_groups: int = 4) -> st.SearchStrategy[Game]:
    """Random games of up to 3 questions, 2 or more groups, and up to 4 candidates."""
    seeds, groups = st.integers(0, 2**32 - 1), st.integers(2, most_groups)
    return st.builds(random_game, seeds, st.integers(1, 3), groups, st.integers(1, 4))


def draws(policy_gk: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Every way in which the groups can answer one question independently, and its probability."""
    groups, candidates = policy_gk.shape
    for picks in itertools.product(range(candidates), repeat=groups):
        yield picks, policy_gk[range(groups), list(picks)].prod()


def expected(policy_gk: Tensor, value: Callable[[tuple[int, ...]], float]) -> Tensor:
    """Expectation over the joint draws of `value`, a function of each group's pick."""
    return sum((chance * value(picks) for picks, chance in draws(policy_gk)), torch.zeros(()))


def differing_pairs(answers: Sequence[int]) -> float:
    """Share of the pairs of groups that got different answers; an unread answer differs from every other."""
    pairs = list(itertools.combinations(answers, 2))
    return sum(a != b or a == UNNAMED for a, b in pairs) / len(pairs)


def wrong_beside_right(answers: Sequence[int]) -> float:
    """Share of the ordered pairs of groups of which the first is wrong and the second right."""
    pairs = list(itertools.permutations(answers, 2))
    return sum(a != TRUTH and b == TRUTH for a, b in pairs) / len(pairs)


def brute_force(policy_qgk: Tensor, game: Candidates, of_answers: Callable[[Sequence[int]], float]) -> Tensor:
    """Expectation of a function of the groups' answers, [q]."""
    answer_qgk = game.answer_qgk.tolist()

    def at(question: int) -> Tensor:
        answer_gk = answer_qgk[question]
        return expected(policy_qgk[question], lambda picks: of_answers([answer_gk[i][k] for i, k in enumerate(picks)]))

    return torch.stack([at(question) for question in range(len(answer_qgk))])


def deterministic(groups: int, candidates: int) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Every deterministic joint policy of one question: the picks, and the policy [1, g, k]."""
    for picks in itertools.product(range(candidates), repeat=groups):
        yield picks, torch.nn.functional.one_hot(torch.tensor(picks), candidates).double()[None]
