"""Random group shares: what actors would hand to the learner."""

from __future__ import annotations

import numpy as np

from trialign_ray.data.batch import GroupBatch


def random_shares(seed: int, groups: int = 3, questions: int = 4, vocabulary: int = 100) -> list[GroupBatch]:
    rng = np.random.default_rng(seed)
    kinds = rng.random(questions) < 0.8
    return [_share(rng, f"group{g}", kinds, vocabulary) for g in range(groups)]


def _share(rng: np.random.Generator, group: str, objective_q: np.ndarray, vocabulary: int) -> GroupBatch:
    prompts = [rng.integers(5, vocabulary, rng.integers(3, 9)) for _ in objective_q]
    counts = rng.integers(2, 6, len(objective_q))
    responses = [rng.integers(5, vocabulary, rng.integers(1, 7)) for _ in range(counts.sum())]
    question_n = np.repeat(np.arange(len(objective_q)), counts)
    answer_n = rng.integers(0, 4, len(responses))
    truth_n = ((answer_n == 1) & objective_q[question_n]).astype(np.float32)
    return GroupBatch(
        group=group,
        prompt_t=np.concatenate(prompts).astype(np.int32),
        prompt_offset_q=np.concatenate([[0], np.cumsum([len(p) for p in prompts])]),
        response_t=np.concatenate(responses).astype(np.int32),
        response_offset_n=np.concatenate([[0], np.cumsum([len(r) for r in responses])]),
        candidate_offset_q=np.concatenate([[0], np.cumsum(counts)]),
        utility_n=(0.7 * truth_n + 0.3 * rng.random(len(responses))).astype(np.float32),
        truth_n=truth_n,
        answer_n=answer_n.astype(np.int64),
        own_n=rng.random(len(responses)) < 0.7,
        reference_logp_n=np.full(len(responses), np.nan, np.float32),
        objective_q=objective_q,
    )
