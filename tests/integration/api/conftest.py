from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from api.local_ray import authenticate
from tests.integration.api.serving import repository

_CHANGED = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "PYTHONPATH")


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """This process, and every Ray that it starts, asks for a token; the file that holds it."""
    before = {name: os.environ.pop(name, None) for name in _CHANGED}
    os.environ["PYTHONPATH"] = str(repository())
    authenticate(tmp_path_factory.mktemp("token"))
    yield os.environ["RAY_AUTH_TOKEN_PATH"]
    for name, value in before.items():
        os.environ.pop(name, None)
        os.environ.update({} if value is None else {name: value})
