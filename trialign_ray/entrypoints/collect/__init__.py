"""`trialign collect`: a model plays all groups, and its responses become offline logs."""

from trialign_ray.entrypoints.collect.run import collect, run_job

__all__ = ["collect", "run_job"]
