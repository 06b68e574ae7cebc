"""One tiny project on disk for the tests that need a whole one; imported late, since it takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from tests.world import make_world

    return make_world(tmp_path_factory.mktemp("world"))
