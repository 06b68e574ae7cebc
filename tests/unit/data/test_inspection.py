from __future__ import annotations

import pytest

from trialign_ray.data.dataset import manifest, write_logs
from trialign_ray.data.inspection import Spread, question_view, summarise
from trialign_ray.errors import DataError

from .samples import GROUPS, grid, row, table


@pytest.fixture
def logs(tmp_path):
    rows = grid()
    rows[0] |= {"reward_truth": 0.0, "answer": None, "answer_kind": "refusal", "preference_cue": "implicit"}
    rows[1] |= {"reward_truth": 0.0, "answer": None, "answer_kind": "unextracted", "response_ids": [1, 2, 3, 4, 5, 6]}
    rows[1] |= {"behaviour_logprobs": None, "reward_preference": 1.0}
    rows.append(row(question_id="taste", kind="subjective", references=[], reward_truth=None, preference_cue=None))
    write_logs(table(rows), tmp_path / "logs", (*GROUPS, "nobody"))
    return tmp_path / "logs"


def test_the_summary_counts_what_is_there(logs):
    summary = summarise(logs)
    assert (summary.rows, summary.questions) == (19, 4)
    assert [group.group for group in summary.groups] == [*GROUPS, "nobody"]
    assert [(split.split, split.questions, split.rows) for split in summary.splits] == [
        ("train", 3, 13),
        ("heldout", 1, 6),
    ]
    assert summary.content_sha256 == manifest(logs).content_sha256
    assert summary.model_hashes == ("ab12",)


def test_a_group_s_shares_are_over_the_rows_that_have_them(logs):
    neutral = summarise(logs).groups[0]
    assert (neutral.rows, neutral.questions) == (7, 4)
    assert neutral.accuracy == pytest.approx(4 / 6)
    assert neutral.refusal == neutral.unextracted == pytest.approx(1 / 7)
    assert neutral.ambiguous == 0.0
    assert neutral.preference_implicit == pytest.approx(0.5)
    assert neutral.preference_explicit == pytest.approx((1.0 + 4 * 0.5) / 5)
    assert neutral.samples_per_prompt == Spread(1, 7 / 4, 2)
    assert neutral.prompt_tokens == Spread(3, 3.0, 3)
    assert neutral.response_tokens == Spread(2, 18 / 7, 6)


def test_a_group_without_rows_has_no_shares(logs):
    nobody = summarise(logs).groups[-1]
    assert nobody.rows == nobody.questions == 0
    assert nobody.accuracy is nobody.refusal is nobody.preference_explicit is None
    assert nobody.response_tokens == Spread(0, 0.0, 0)


def test_a_question_is_shown_across_its_groups(logs):
    view = question_view(logs, "q0")
    assert (view.question_id, view.kind, view.references, view.split) == ("q0", "objective", ("Lima",), "train")
    assert [(one.group, one.sample) for one in view.responses] == [(group, k) for group in GROUPS for k in (0, 1)]
    assert [one.reward_truth for one in view.responses] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert [one.answer_kind for one in view.responses[:3]] == ["refusal", "unextracted", "entity"]


def test_an_unknown_question_names_ids_like_it(logs):
    with pytest.raises(DataError, match=r"no question 'tast'.*taste"):
        question_view(logs, "tast")
