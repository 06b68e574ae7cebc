"""`trialign evaluate`: what a model would earn on logged questions, sampled as the logs were."""

from trialign_ray.entrypoints.evaluate.run import evaluate

__all__ = ["evaluate"]
