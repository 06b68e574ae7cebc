"""What holds for all tests: no deadlines, one token for every Ray, and the run that nobody disturbs.

Time is not what these tests state: a first call of torch, or a busy machine, may be slow. Ray's library reads how to
authenticate once in a process, so tests that start several clusters need one token for all.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import settings

if TYPE_CHECKING:
    from tests.world import Losses, World

settings.register_profile("trialign", deadline=None)
settings.load_profile("trialign")

if "RAY_AUTH_MODE" not in os.environ:
    token = Path(tempfile.mkdtemp(prefix="trialign-token-")) / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A tiny project on disk."""
    from tests.world import make_world

    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def undisturbed(world: World) -> Losses:
    """Losses of `trialign train` on a LONG run, from the first step to the last in one go."""
    from tests.world import LONG, losses

    spec = world.train_spec("undisturbed", **LONG)
    file = world.folder / "undisturbed.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [str(Path(sys.executable).parent / "trialign"), "train", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return losses(spec)
