"""Time is not what these tests state: a first call of torch, or a busy machine, may be slow."""

from hypothesis import settings

settings.register_profile("trialign", deadline=None)
settings.load_profile("trialign")
