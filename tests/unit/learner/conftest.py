"""A first call of a torch operation can take longer than hypothesis' deadline; time is not what these tests state."""

from hypothesis import settings

settings.register_profile("torch", deadline=None)
settings.load_profile("torch")
