"""Paths to fields, and values that all rows have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trialign_ray.data.field_paths import check_paths, mapped, paths_of
from trialign_ray.errors import SpecError

from .mountains import TEXTS, audited, imported, written

ASKED = {"role": "user", "content": TEXTS["japan"]}


def test_what_begins_with_a_second_sign_is_the_value_itself() -> None:
    paths = paths_of(["group==nurse_kenya", "response=output.content", "turn==2", 'references==["Fuji"]', "topic==7"])
    check_paths(paths)
    assert mapped({"output": {"content": "Fuji"}}, paths) == {
        **{"group": "nurse_kenya", "response": "Fuji", "turn": 2, "references": ["Fuji"], "topic": "7"}
    }


def test_an_empty_constant_of_text_is_empty_text() -> None:
    assert mapped({}, paths_of(["model_hash=="])) == {"model_hash": ""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("group", "expected FIELD=PATH"),
        ("=x", "expected FIELD=PATH"),
        ("group=", "group==nurse_kenya for one value"),
        ("turn==two", "'turn' is no field of text; give JSON"),
        ("references==Nile", r'references==\["Nile"\]'),
        ("mood==good", "'mood' is no field of the logs"),
    ],
)
def test_a_mapping_that_cannot_be_says_what_to_give(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        check_paths(paths_of([text]))


def test_a_field_is_mapped_once() -> None:
    with pytest.raises(SpecError, match="'group' is mapped twice"):
        paths_of(["group==a", "group=b"])


@pytest.mark.parametrize(
    ("path", "found"), [("turns.0", "a"), ("turns.-1", "c"), ("turns.3", None), ("turns.-4", None)]
)
def test_positions_count_from_either_end(path: str, found: str | None) -> None:
    row = mapped({"turns": ["a", "b", "c"]}, {"response": path})
    assert row.get("response") == found


def test_one_group_for_all_rows_of_a_file(tmp_path: Path) -> None:
    row: dict[str, Any] = {"question_id": "japan", "input": [ASKED], "output": [{"text": "It is Fuji."}]}
    paths = {"group": "=neutral", "messages": "input", "response": "output.0.text"}
    imported(tmp_path, [row, row], (), paths)
    assert written(tmp_path, "group", "response", "sample") == [
        ("neutral", "It is Fuji.", 0),
        ("neutral", "It is Fuji.", 1),
    ]
    answers = [{"question_id": "japan", "said": "Fuji", "who": "me"}]
    table = audited(tmp_path, answers, map={"response": "said", "group": "=neutral"}, ignore=["who"]).table
    assert table["group"].to_pylist() == ["neutral"]
