"""Truth-invariant alignment of personalized language models, by offline multi-agent reinforcement learning.

    from trialign_ray import TrainSpec, load_spec, train
    train(load_spec(TrainSpec, "demo/train.yaml"))

Names are imported when they are first used, so `import trialign_ray` loads neither torch nor Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialign_ray.config.base import load_yaml as load_spec
    from trialign_ray.config.tasks import AuditSpec, CollectSpec
    from trialign_ray.config.train import TrainSpec
    from trialign_ray.data.dataset import read_logs as load_logs
    from trialign_ray.entrypoints.audit import audit
    from trialign_ray.entrypoints.collect import collect
    from trialign_ray.entrypoints.export import export
    from trialign_ray.entrypoints.train import train
    from trialign_ray.errors import TrialignError

_HOMES = {
    "AuditSpec": "trialign_ray.config.tasks:AuditSpec",
    "CollectSpec": "trialign_ray.config.tasks:CollectSpec",
    "TrainSpec": "trialign_ray.config.train:TrainSpec",
    "TrialignError": "trialign_ray.errors:TrialignError",
    "audit": "trialign_ray.entrypoints.audit:audit",
    "collect": "trialign_ray.entrypoints.collect:collect",
    "export": "trialign_ray.entrypoints.export:export",
    "load_logs": "trialign_ray.data.dataset:read_logs",
    "load_spec": "trialign_ray.config.base:load_yaml",
    "train": "trialign_ray.entrypoints.train:train",
}
"""Public name -> where it is defined."""

__all__ = [
    "AuditSpec",
    "CollectSpec",
    "TrainSpec",
    "TrialignError",
    "audit",
    "collect",
    "export",
    "load_logs",
    "load_spec",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import the public `name` (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trialign_ray' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
