"""An import path names an object, or the error says what to do."""

from __future__ import annotations

import collections

import pytest
from pydantic import ValidationError

from trialign_ray.config.seams import ImportedSpec, load_object
from trialign_ray.errors import SpecError


def test_an_import_path_gives_the_object() -> None:
    assert load_object("collections:OrderedDict") is collections.OrderedDict


@pytest.mark.parametrize("path", ["no_such_package:name", "collections:NoSuchName"])
def test_what_cannot_be_imported_is_reported(path: str) -> None:
    with pytest.raises(SpecError, match=f"import_path '{path}'"):
        load_object(path)


@pytest.mark.parametrize("path", ["os.system", ":x", "a:b:c", "a b:c", "../x:y", "a:b.c", "a:1"])
def test_what_is_no_import_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="import_path"):
        ImportedSpec(import_path=path)
