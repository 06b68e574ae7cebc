"""Answer-level terms against closed forms: what they move, what they leave alone, and what they may never reward."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trialign_ray.config.algorithm import InconsistencySpec
from trialign_ray.objective.answers import (
    AnswerSets,
    FactTerms,
    answer_policy,
    fact_terms,
    slope_at_truth,
    within_question,
)

TRUTH = 0


def sets(questions: int, groups: int, frames: int, answers: int, **changes: Tensor) -> AnswerSets:
    fields = {
        "mask_qgfa": torch.ones(questions, groups, frames, answers, dtype=torch.bool),
        "right_qa": (torch.arange(answers) == TRUTH).double().expand(questions, answers),
        "known_q": torch.ones(questions, dtype=torch.bool),
    }
    return AnswerSets(**fields | changes)


def terms(**changes: float | InconsistencySpec) -> FactTerms:
    fields = {"short": 1.0, "frames": 1.0, "alpha": 0.0, "inconsistency": InconsistencySpec(coefficient=0.0)}
    return FactTerms(**fields | changes)  # type: ignore[arg-type]


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slope(asked: FactTerms, logp_qgfa: Tensor, answers: AnswerSets, weight_g: Tensor | None = None) -> Tensor:
    leaf = logp_qgfa.clone().requires_grad_()
    weight_g = torch.ones(logp_qgfa.shape[1], dtype=torch.float64) if weight_g is None else weight_g
    return torch.autograd.grad(fact_terms(asked, leaf, answers, weight_g).loss, leaf)[0]


def test_a_policy_is_the_softmax_of_the_answers_that_are_there():
    mask = torch.tensor([[[[True, True, False], [True, True, True]]]])
    policy = answer_policy(
        torch.tensor([[[[0.0, math.log(3), 9.0], [1.0, 1.0, 1.0]]]]), sets(1, 1, 2, 3, mask_qgfa=mask)
    )
    torch.testing.assert_close(policy, torch.tensor([[[[0.25, 0.75, 0.0], [1 / 3, 1 / 3, 1 / 3]]]]))


def test_a_frame_that_is_not_there_has_no_policy_and_no_slope():
    answers = sets(1, 2, 2, 2, mask_qgfa=torch.tensor([[[[True] * 2] * 2, [[True] * 2, [False] * 2]]]))
    logp = draws(1, 2, 2, 2)
    assert not answer_policy(logp, answers)[0, 1, 1].any()
    gradient = slope(terms(inconsistency=InconsistencySpec(coefficient=0.5)), logp, answers)
    assert gradient.isfinite().all()
    assert not gradient[0, 1, 1].any()


def test_how_likely_a_wording_is_plays_no_part():
    logp, answers = draws(2, 3, 3, 4), sets(2, 3, 3, 4)
    asked = terms(alpha=1.0, inconsistency=InconsistencySpec(coefficient=0.3))
    gradient = slope(asked, logp, answers)
    torch.testing.assert_close(gradient, slope(asked, logp + draws(2, 3, 3, 1, seed=1), answers))
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(2, 3, 3, dtype=torch.float64))


def test_expected_truth_pushes_hardest_where_the_model_is_undecided():
    """Slope in the truth's log-prob is p (1 - p), over questions and groups."""
    right = torch.tensor([0.01, 0.5, 0.99], dtype=torch.float64)
    logp = torch.stack([right.log(), (1 - right).log()], -1)[:, None, None]
    gradient = slope(terms(frames=0.0), logp, sets(3, 1, 1, 2))
    torch.testing.assert_close(gradient[:, 0, 0, TRUTH], -right * (1 - right) / 3)


def test_nash_welfare_within_a_question_is_the_log_of_right_for_everyone():
    right_qg = torch.tensor([[0.2, 0.5, 0.9]], dtype=torch.float64)
    everyone = within_question(right_qg, torch.ones_like(right_qg), 1.0).sum()
    assert float(everyone) == pytest.approx(math.log(0.21 * 0.51 * 0.91))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 8.0])
def test_slopes_in_log_probs_are_shares_that_fall_with_what_a_group_has(alpha: float):
    level = torch.tensor([[0.1, 0.4, 0.8]], dtype=torch.float64).log().requires_grad_()
    welfare = within_question(level.exp() - 0.01, torch.ones_like(level), alpha).sum() / 3
    (share,) = torch.autograd.grad(welfare, level)
    expected = level.detach().exp() ** (1 - alpha)
    torch.testing.assert_close(share, expected / expected.sum())


def test_a_large_alpha_is_the_log_of_the_worst_group():
    right_qg = torch.tensor([[0.2, 0.5, 0.9]], dtype=torch.float64)
    welfare = float(within_question(right_qg, torch.ones_like(right_qg), 64.0)) / 3
    assert welfare == pytest.approx(math.log(0.21), abs=0.02)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 8.0])
def test_groups_without_a_weight_change_neither_welfare_nor_slope(alpha: float):
    right_qg = torch.tensor([[0.2, 0.5, 0.9], [0.3, 0.4, 0.1]], dtype=torch.float64, requires_grad=True)
    weight_qg = torch.tensor([[1.5, 0.5, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found_q = within_question(right_qg, weight_qg, alpha)
    torch.testing.assert_close(found_q[0], within_question(right_qg[:1, :2], weight_qg[:1, :2], alpha)[0])
    assert float(found_q[1].detach()) == 0
    (slope_qg,) = torch.autograd.grad(found_q.sum(), right_qg)
    assert slope_qg.isfinite().all()
    assert (slope_qg > 0).tolist() == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 8.0])
def test_the_slope_that_bounds_lambda_is_that_of_a_group_at_the_truth(alpha: float):
    right_qg = torch.tensor([[1.0, 0.3, 0.6]], dtype=torch.float64, requires_grad=True)
    weight_qg = torch.tensor([[0.5, 1.0, 1.5]], dtype=torch.float64)
    (slope_qg,) = torch.autograd.grad(within_question(right_qg, weight_qg, alpha).sum(), right_qg)
    torch.testing.assert_close(slope_at_truth(right_qg.detach(), weight_qg, alpha)[0, 0], slope_qg[0, 0])


def test_a_group_without_frames_counts_among_short_answers_alone():
    mask = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    mask[0, 1, 1] = False
    found = fact_terms(terms(), draws(1, 2, 2, 2), sets(1, 2, 2, 2, mask_qgfa=mask), torch.ones(2, dtype=torch.float64))
    assert found.right_short_g.isfinite().all()
    assert found.right_frames_g.isnan().tolist() == [False, True]


def test_without_a_truth_only_the_penalty_has_a_slope():
    unknown = sets(1, 2, 1, 3, known_q=torch.tensor([False]), right_qa=torch.zeros(1, 3, dtype=torch.float64))
    logp = draws(1, 2, 1, 3)
    assert not slope(terms(frames=0.0), logp, unknown).any()
    penalised = slope(terms(frames=0.0, inconsistency=InconsistencySpec(coefficient=0.4)), logp, unknown)
    policy = logp.softmax(-1)[0, :, 0]
    # D = 1 - <P_0, P_1>: the slope in P_0(a) is - P_1(a), through the softmax of group 0.
    expected = -0.4 * policy[0] * (policy[1] - (policy[0] * policy[1]).sum())
    torch.testing.assert_close(penalised[0, 0, 0], expected)


def test_anchored_penalty_never_lowers_the_group_that_knows():
    logp = torch.tensor([[[[3.0, 0.0]], [[0.0, 3.0]]]], dtype=torch.float64)
    gradient = slope(terms(inconsistency=InconsistencySpec(coefficient=1.0)), logp, sets(1, 2, 1, 2))
    # The loss falls as the truth becomes likelier, in both groups.
    assert (gradient[0, :, 0, TRUTH] < 0).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("form", ["anchored", "symmetric"])
def test_joining_the_others_in_a_wrong_answer_never_pays(alpha: float, form: str):
    """Group 0 alone knows; whatever lambda is asked for, its slope still favours the truth."""
    for right in (0.5, 0.9, 0.99, 0.9999):
        knows, errs = [math.log(right), math.log(1 - right)], [math.log(1e-6), math.log(1 - 1e-6)]
        logp = torch.tensor([[[knows], [errs], [errs]]], dtype=torch.float64)
        asked = terms(alpha=alpha, inconsistency=InconsistencySpec(coefficient=1.0, form=form))
        weight_g = torch.tensor([0.25, 1.0, 1.75], dtype=torch.float64)
        assert slope(asked, logp, sets(1, 3, 1, 2), weight_g)[0, 0, 0, TRUTH] < 0


@pytest.mark.parametrize("alpha", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("form", ["symmetric", "jensen_shannon", "variance"])
@pytest.mark.parametrize(("groups", "framed"), [(3, 2), (8, 2), (8, 3)])
def test_nor_does_it_pay_where_few_groups_have_a_wording(alpha: float, form: str, groups: int, framed: int):
    """Group 0 alone knows, and says so or what the other groups with a wording say."""
    mask = torch.ones(1, groups, 2, 2, dtype=torch.bool)
    mask[0, framed:, 1] = False
    asked = terms(alpha=alpha, short=0.0, inconsistency=InconsistencySpec(coefficient=1.0, form=form))
    errs = torch.tensor([-40.0, 0.0], dtype=torch.float64).expand(1, groups, 2, 2)
    knows = errs.clone()
    knows[0, 0] = knows[0, 0].flip(-1)
    loss = [
        float(fact_terms(asked, logp, sets(1, groups, 2, 2, mask_qgfa=mask), torch.ones(groups)).loss)
        for logp in (knows, errs)
    ]
    assert loss[0] < loss[1]


@pytest.mark.parametrize("form", ["anchored", "symmetric", "jensen_shannon", "variance"])
@pytest.mark.parametrize("known", [True, False])
def test_a_question_without_a_wording_or_without_answers_adds_nothing_and_breaks_nothing(form: str, known: bool):
    mask = torch.ones(3, 2, 2, 3, dtype=torch.bool)
    mask[1, :, 1] = False  # short answers alone
    mask[2] = False
    answers = sets(3, 2, 2, 3, mask_qgfa=mask, known_q=torch.full((3,), known))
    asked = terms(alpha=4.0, inconsistency=InconsistencySpec(coefficient=0.4, form=form))
    logp = draws(3, 2, 2, 3)
    found = fact_terms(asked, logp, answers, torch.ones(2, dtype=torch.float64))
    assert found.loss.isfinite()
    assert 0 < found.coefficient < 0.4 + 1e-6
    gradient = slope(asked, logp, answers)
    assert gradient.isfinite().all()
    assert not gradient[1, :, 1].any()
    assert not gradient[2].any()


@pytest.mark.parametrize("form", ["symmetric", "jensen_shannon"])
def test_a_question_whose_truth_is_known_leaves_the_penalty_of_another_alone(form: str):
    """Under max-min one group far below the others bounds lambda at next to nothing, in its own question."""
    level = torch.tensor([0.999, 0.999, 0.05], dtype=torch.float64)
    known = torch.stack([level.log(), (1 - level).log()], -1)[:, None]
    unknown = draws(3, 1, 2)
    right = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    both = sets(2, 3, 1, 2, known_q=torch.tensor([True, False]), right_qa=right)
    alone = sets(1, 3, 1, 2, known_q=torch.tensor([False]), right_qa=right[1:])
    asked = terms(alpha=8.0, frames=0.0, inconsistency=InconsistencySpec(coefficient=0.5, form=form))
    gradient = slope(asked, torch.stack([known, unknown]), both)
    torch.testing.assert_close(2 * gradient[1:], slope(asked, unknown[None], alone))


def test_groups_that_were_not_asked_change_nothing():
    mask = torch.ones(1, 4, 2, 3, dtype=torch.bool)
    mask[0, 2:] = False
    asked = terms(alpha=4.0, inconsistency=InconsistencySpec(coefficient=0.4, form="symmetric"))
    logp = draws(1, 4, 2, 3)
    gradient = slope(asked, logp, sets(1, 4, 2, 3, mask_qgfa=mask))
    torch.testing.assert_close(gradient[:, :2], slope(asked, logp[:, :2], sets(1, 2, 2, 3)))
    assert not gradient[:, 2:].any()


def test_gradient_ascent_on_one_shared_answer_finds_the_brute_force_optimum():
    """Two questions share one logit: expected truth follows the majority, max-min the middle."""
    towards = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)

    def logp_of(logit: Tensor) -> Tensor:
        score = logit * towards
        return torch.stack([score, torch.zeros_like(score)], -1)[None, :, None]

    def best(alpha: float, low: float = -6.0, high: float = 6.0) -> float:
        place = torch.linspace(low, high, 241, dtype=torch.float64)
        values = [
            float(fact_terms(terms(alpha=alpha, frames=0.0), logp_of(x), sets(1, 3, 1, 2), torch.ones(3)).loss)
            for x in place
        ]
        least = float(place[values.index(min(values))])
        return least if high - low < 1 else best(alpha, max(low, least - 0.3), min(high, least + 0.3))

    def found(alpha: float) -> float:
        logit = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([logit], lr=0.1)
        for _ in range(400):
            optimizer.zero_grad()
            fact_terms(terms(alpha=alpha, frames=0.0), logp_of(logit), sets(1, 3, 1, 2), torch.ones(3)).loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return float(logit.detach())

    for alpha in (1.0, 4.0):
        assert found(alpha) == pytest.approx(best(alpha), abs=0.02)
    assert best(0.0) == 6.0
    assert 0.0 < best(4.0) < best(1.0) < 1.0
