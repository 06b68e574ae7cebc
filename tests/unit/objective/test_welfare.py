from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trialign_ray.objective.welfare.alpha_fair import AlphaFair
from trialign_ray.objective.welfare.base import CLIP, Welfare
from trialign_ray.objective.welfare.exponentiated_gradient import ExponentiatedGradient
from trialign_ray.objective.welfare.generalised_gini import GeneralisedGini

WELFARES: list[Welfare] = [AlphaFair(0.0), AlphaFair(1.0), AlphaFair(2.5), GeneralisedGini(0.5), GeneralisedGini(1.0)]


def vectors(low: float = 0.0, high: float = 1.0) -> st.SearchStrategy[Tensor]:
    """Utilities of 2 to 8 groups."""
    numbers = st.lists(st.floats(low, high), min_size=2, max_size=8)
    return numbers.map(lambda values: torch.tensor(values, dtype=torch.float64))


def alpha_welfare(utility_g: Tensor, alpha: float, eps: float) -> Tensor:
    if alpha == 1:
        return (eps + utility_g).log().sum()
    return ((eps + utility_g) ** (1 - alpha) / (1 - alpha)).sum()


def gini_welfare(utility_g: Tensor, decay: float) -> Tensor:
    return (utility_g.sort().values * decay ** torch.arange(len(utility_g), dtype=utility_g.dtype)).sum()


def slope(value: Tensor, utility_g: Tensor) -> Tensor:
    (gradient_g,) = torch.autograd.grad(value, utility_g)
    return gradient_g / gradient_g.mean()


@given(vectors())
def test_the_mean_counts_every_group_the_same(utility_g):
    assert torch.equal(AlphaFair(0.0).weights(utility_g), torch.ones_like(utility_g))
    torch.testing.assert_close(GeneralisedGini(1.0).weights(utility_g), torch.ones_like(utility_g))


@pytest.mark.parametrize("welfare", WELFARES)
@given(utility_g=vectors(), seed=st.integers(0, 1000))
def test_relabelling_the_groups_relabels_the_weights(welfare, utility_g, seed):
    order = torch.randperm(len(utility_g), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(welfare.weights(utility_g[order]), welfare.weights(utility_g)[order])


@pytest.mark.parametrize("welfare", WELFARES)
@given(utility_g=vectors())
def test_a_worse_group_never_counts_less(welfare, utility_g):
    by_utility = welfare.weights(utility_g)[utility_g.argsort()]
    assert (by_utility.diff() <= 1e-9).all()


@pytest.mark.parametrize("welfare", WELFARES)
@given(utility_g=vectors())
def test_groups_of_equal_utility_count_the_same(welfare, utility_g):
    weight_g = welfare.weights(torch.cat([utility_g, utility_g]))
    torch.testing.assert_close(weight_g[: len(utility_g)], weight_g[len(utility_g) :])


@given(vectors(low=0.05), st.floats(0.05, 1))
def test_nash_weights_do_not_depend_on_the_unit_of_utility(utility_g, scale):
    nash = AlphaFair(1.0, eps=1e-12)
    torch.testing.assert_close(nash.weights(scale * utility_g), nash.weights(utility_g))


def test_eps_keeps_a_group_without_utility_from_taking_all_the_weight():
    weight_g = AlphaFair(1.0, eps=0.5).weights(torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(weight_g, torch.tensor([4 / 3, 2 / 3]))


def test_the_worst_groups_weight_grows_with_alpha():
    utility_g = torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64)
    worst = [float(AlphaFair(alpha).weights(utility_g)[0]) for alpha in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert worst == sorted(set(worst))


def test_a_large_alpha_looks_at_the_worst_group_alone():
    weight_g = AlphaFair(64.0).weights(torch.tensor([0.0, 0.5, 0.9], dtype=torch.float64))
    torch.testing.assert_close(weight_g, torch.tensor([3.0, CLIP[0], CLIP[0]], dtype=torch.float64))


def test_weights_are_finite_at_every_alpha_and_eps_that_a_specification_allows():
    weight_g = AlphaFair(64.0, eps=1e-6).weights(torch.tensor([0.0, 0.5], dtype=torch.float64))
    torch.testing.assert_close(weight_g, torch.tensor([2.0, CLIP[0]], dtype=torch.float64))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_weights_are_the_slope_of_the_alpha_fair_welfare(alpha):
    utility_g = torch.tensor([0.3, 0.5, 0.45, 0.6], dtype=torch.float64, requires_grad=True)
    gradient_g = slope(alpha_welfare(utility_g, alpha, eps=0.05), utility_g)
    torch.testing.assert_close(AlphaFair(alpha, eps=0.05).weights(utility_g.detach()), gradient_g)


def test_weights_are_the_slope_of_the_gini_welfare():
    utility_g = torch.tensor([0.3, 0.5, 0.45], dtype=torch.float64, requires_grad=True)
    gradient_g = slope(gini_welfare(utility_g, decay=0.7), utility_g)
    torch.testing.assert_close(GeneralisedGini(0.7).weights(utility_g.detach()), gradient_g)


def test_groups_that_tie_share_the_mean_of_their_ranks():
    """Ranks 0 and 1 are shared, rank 2 is the third group's: 1, 1/2 and 1/4, of mean 7/12."""
    weight_g = GeneralisedGini(0.5).weights(torch.tensor([0.2, 0.9, 0.2], dtype=torch.float64))
    torch.testing.assert_close(weight_g, torch.tensor([0.75, 0.25, 0.75], dtype=torch.float64) * 12 / 7)


@given(vectors(), st.floats(0, 8), st.floats(0.001, 1))
def test_weights_stay_within_the_clip_and_have_mean_one_where_it_does_not_bind(utility_g, alpha, eps):
    weight_g = AlphaFair(alpha, eps).weights(utility_g)
    assert ((weight_g >= CLIP[0]) & (weight_g <= CLIP[1])).all()
    if ((weight_g > CLIP[0]) & (weight_g < CLIP[1])).all():
        assert float(weight_g.mean()) == pytest.approx(1)


@given(vectors(), st.floats(0.01, 1))
def test_exponentiated_gradient_is_its_formula_where_the_clip_does_not_bind(loss_g, step):
    found_g = ExponentiatedGradient(step).moved(torch.ones_like(loss_g), loss_g)
    share_g = (step * loss_g).exp() / (step * loss_g).exp().sum()
    torch.testing.assert_close(found_g, len(loss_g) * share_g)


def test_exponentiated_gradient_adds_up_the_losses_of_all_steps():
    """After several steps the weights are the softmax of step times the summed losses; equal losses move nothing."""
    losses = torch.rand(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight_g = torch.ones(3, dtype=torch.float64)
    for loss_g in losses:
        weight_g = ExponentiatedGradient(0.1).moved(weight_g, loss_g)
    torch.testing.assert_close(weight_g, 3 * (0.1 * losses.sum(0)).softmax(0))
    torch.testing.assert_close(ExponentiatedGradient(0.1).moved(weight_g, torch.full_like(weight_g, 9.0)), weight_g)


def test_weights_that_move_stay_within_the_clip():
    """One of eight groups loses far more than the others, step after step."""
    weight_g = torch.ones(8, dtype=torch.float64)
    loss_g = torch.tensor([5.0] + [0.0] * 7, dtype=torch.float64)
    for _ in range(20):
        weight_g = ExponentiatedGradient(1.0).moved(weight_g, loss_g)
        assert ((weight_g >= CLIP[0]) & (weight_g <= CLIP[1])).all()
    assert weight_g.tolist() == [CLIP[1]] + [CLIP[0]] * 7
