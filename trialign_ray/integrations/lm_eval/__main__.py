"""`python -m trialign_ray.integrations.lm_eval`: the folder for the harness's `--include_path`."""

from pathlib import Path

print(Path(__file__).parent)  # noqa: T201
