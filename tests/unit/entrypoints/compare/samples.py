from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.world import World
from trialign_ray.config.compare import CompareSpec


def compare_spec(world: World, runs: Path, **changes: Any) -> CompareSpec:
    """Two arms, one seed, one regime and two reference arms beside the base, on the tiny world."""
    fields: dict[str, Any] = {
        "name": "smoke",
        "runs": str(runs),
        "base": {
            **{"model": world.model, "logs": world.logs, "questions_per_step": 2, "lora": {"rank": 4}},
            **{"optimizer": {"learning_rate": 0.02}, "learner": {"workers": 1, "dtype": "float32"}},
        },
        "algorithms": {
            "ours": {"algorithm": {"name": "trialign"}},
            "sft": {"algorithm": {"name": "sft"}, "train": {"epochs": 2}},
        },
        "references": ["base", "vote", "persona_deleted"],
        "seeds": [0],
        "regimes": {"all": {"predicted": "Nothing wins: random weights, four questions."}},
        "evaluation": {
            **{"questions": world.questions, "groups": world.groups, "max_new_tokens": 4, "bootstrap": 100},
            "text": world.logs,
        },
        "contrasts": [
            {"name": "main", "of": "ours", "against": "sft", "figure": "closed.accuracy", "regime": "all"},
            {"name": "any", "of": "ours", "against": "base", "figure": "free.named", "regime": "all"},
        ],
        "cell": {"cpus": 1},
    }
    return CompareSpec.model_validate(fields | changes)
