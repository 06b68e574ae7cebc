"""`trialign audit`: the truth report of a model, or of answers already collected from any assistant.

`run` is the job; every other module here is one source of answers.
"""

from trialign_ray.entrypoints.audit.run import audit, run_job

__all__ = ["audit", "run_job"]
