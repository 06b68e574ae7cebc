from __future__ import annotations

import pytest
from pydantic import ValidationError

from trialign_ray.config.game import Group
from trialign_ray.data.fields import FIELD_CHECKS
from trialign_ray.data.schema import CUES, GROUP_NAME, SCHEMA, SPLITS


@pytest.mark.parametrize("name", ["neutral", "a", "x" * 40, "a_1", "", "A", "a b", "a/b", "é", "x" * 41, ".."])
def test_logs_and_group_files_agree_on_what_a_group_name_is(name):
    try:
        Group(name=name)
        allowed = True
    except ValidationError:
        allowed = False
    assert bool(GROUP_NAME.fullmatch(name)) == allowed


def test_every_field_of_the_schema_has_a_check():
    assert list(FIELD_CHECKS) == SCHEMA.names


def test_every_field_says_what_it_means():
    assert all(field.metadata[b"meaning"] for field in SCHEMA)


def test_the_closed_sets_are_those_of_the_question_files():
    assert SPLITS == ("train", "heldout")
    assert CUES == ("explicit", "implicit")
