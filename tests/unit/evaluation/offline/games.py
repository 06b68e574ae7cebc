"""A tiny tabular game: the same few answers to every question, each policy a table. Values are closed forms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trialign_ray.evaluation.offline.logged import Logged
from trialign_ray.evaluation.stats.intervals import Floats


@dataclass(frozen=True)
class Game:
    """Tables [q, a] over the population of questions."""

    behaviour_qa: Floats
    target_qa: Floats
    reward_qa: Floats

    @property
    def value(self) -> float:
        return float((self.target_qa * self.reward_qa).sum(axis=1).mean())

    def log(self, rng: np.random.Generator, questions: int, samples: int) -> Logged:
        """Questions drawn from the population, each answered `samples` times by the behaviour policy."""
        drawn_q = rng.integers(len(self.behaviour_qa), size=questions)
        edges_qa = self.behaviour_qa[drawn_q].cumsum(axis=1)
        said_qs = (rng.random((questions, samples))[:, :, None] > edges_qa[:, None]).sum(axis=2)
        said_qs = np.minimum(said_qs, self.behaviour_qa.shape[1] - 1)
        type_n, said_n = np.repeat(drawn_q, samples), said_qs.ravel()
        return Logged(
            question_n=np.repeat(np.arange(questions), samples),
            response_n=said_n,
            reward_n=self.reward_qa[type_n, said_n],
            target_logp_n=np.log(self.target_qa[type_n, said_n]),
            behaviour_logp_n=np.log(self.behaviour_qa[type_n, said_n]),
        )


def drawn_game(seed: int, tilt: float, questions: int = 40, answers: int = 5) -> Game:
    """One answer of each question is right; the target is the behaviour tilted to other logits by `tilt`."""
    rng = np.random.default_rng(seed)
    logit_qa = rng.normal(size=(questions, answers))
    reward_qa = np.eye(answers)[rng.integers(answers, size=questions)]
    moved_qa = logit_qa + tilt * (reward_qa + 0.5 * rng.normal(size=logit_qa.shape))
    return Game(_softmax(logit_qa), _softmax(moved_qa), reward_qa)


def _softmax(logit_qa: Floats) -> Floats:
    exp_qa = np.exp(logit_qa)
    table_qa: Floats = exp_qa / exp_qa.sum(axis=1, keepdims=True)
    return table_qa
