"""Random work of given lengths: what a group actor would hand to the learner."""

from __future__ import annotations

import numpy as np

from trialign_ray.data.batch import GroupBatch


def shares(
    seed: int, prompts: int, responses: int, prompt_tokens: int, response_tokens: int, vocabulary: int = 250
) -> list[GroupBatch]:
    """One group's batch: every prompt with as many right responses as wrong ones, which share the prompt alone."""
    rng = np.random.default_rng(seed)
    count = prompts * responses
    right_n = np.tile(np.arange(responses) % 2 == 0, prompts)
    batch = GroupBatch(
        group="neutral",
        prompt_t=rng.integers(5, vocabulary, prompts * prompt_tokens).astype(np.int32),
        prompt_offset_q=prompt_tokens * np.arange(prompts + 1),
        response_t=rng.integers(5, vocabulary, count * response_tokens).astype(np.int32),
        response_offset_n=response_tokens * np.arange(count + 1),
        candidate_offset_q=responses * np.arange(prompts + 1),
        utility_n=right_n.astype(np.float32),
        truth_n=right_n.astype(np.float32),
        answer_n=np.tile(np.arange(responses), prompts).astype(np.int64),
        own_n=np.ones(count, np.bool_),
        reference_logp_n=np.full(count, np.nan, np.float32),
        objective_q=np.ones(prompts, np.bool_),
    )
    return [batch]


def pairs(batch: GroupBatch) -> list[dict[str, list[int]]]:
    """The same responses as preference pairs, each in one of them."""
    found = []
    for q in range(len(batch.objective_q)):
        said = [batch.response(n).tolist() for n in batch.candidates(q)]
        for chosen, rejected in zip(said[::2], said[1::2], strict=True):
            found.append({"prompt_ids": batch.prompt(q).tolist(), "chosen_ids": chosen, "rejected_ids": rejected})
    return found
