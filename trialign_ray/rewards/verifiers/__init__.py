"""Read the canonical answer out of a free response, fair to every way of writing."""

from trialign_ray.rewards.verifiers.answer import Answer, AnswerKind
from trialign_ray.rewards.verifiers.final import USUAL, Reasoning
from trialign_ray.rewards.verifiers.number import canonical
from trialign_ray.rewards.verifiers.reader import AnswerReader
from trialign_ray.rewards.verifiers.vocabulary import Vocabulary

__all__ = ["USUAL", "Answer", "AnswerKind", "AnswerReader", "Reasoning", "Vocabulary", "canonical"]
