"""What holds for all tests: no deadlines, and one token for every Ray.

Time is not what these tests state: a first call of torch, or a busy machine, may be slow. Ray's library reads how to
authenticate once in a process, so tests that start several clusters need one token for all.
"""

import os
import secrets
import tempfile
from pathlib import Path

from hypothesis import settings

settings.register_profile("trialign", deadline=None)
settings.load_profile("trialign")

if "RAY_AUTH_MODE" not in os.environ:
    token = Path(tempfile.mkdtemp(prefix="trialign-token-")) / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
