from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.api.serving import repository


@pytest.fixture(scope="session")
def token() -> Iterator[str]:
    """The file with the token that every Ray of the tests asks for; jobs find the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(repository()))
        yield os.environ["RAY_AUTH_TOKEN_PATH"]
