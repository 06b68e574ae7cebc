"""What `ray job submit -- python jobs/train.py SPEC.yaml` runs: `trialign train`, with progress as plain lines."""

from __future__ import annotations

import sys

from trialign_ray.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
