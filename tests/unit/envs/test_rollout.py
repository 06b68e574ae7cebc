"""Games become log rows: valid, numbered, with the peers that the prompt showed; in float32 whatever is beside them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.tiny import tiny_model
from trialign_ray import envs
from trialign_ray.config.game import Group, Question, QuestionSet
from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.data.dataset import write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.validation import row_faults, validate_logs
from trialign_ray.envs.rollout import Rollout, prompts_of, roll_out
from trialign_ray.errors import DataError
from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.inference.transformers import TransformersGenerator
from trialign_ray.progress import Silent
from trialign_ray.rewards.verifiers import AnswerReader

from .samples import GROUP_SET, GROUPS, QUESTIONS, TOKENS, game

K = 3
BUDGET = 6


def plan(turns: int = 1, **changes: Any) -> Rollout:
    built = Rollout(game(turns, response_tokens=BUDGET), Sampling(BUDGET, 1.0, K), seed=5, model_hash="ab12")
    return replace(built, **changes)


@pytest.fixture(scope="module")
def model() -> Any:
    return TransformersGenerator(tiny_model())


def played(model: Any, how: Rollout) -> pa.Table:
    return pa.concat_tables(roll_out(model, how, QUESTIONS.questions))


@pytest.fixture(scope="module")
def independent(model: Any) -> pa.Table:
    return played(model, plan())


@pytest.fixture(scope="module")
def cooperative(model: Any) -> pa.Table:
    return played(model, plan(2))


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("question_id", "group", "turn", "sample"))


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """The same rows in any order; log-probs may differ by the rounding of a wider batch."""
    one, other = ({key(row): row for row in table.to_pylist()} for table in (found, expected))
    assert one.keys() == other.keys()
    for name, row in one.items():
        expected_row = other[name]
        assert row.pop("behaviour_logprobs") == pytest.approx(expected_row.pop("behaviour_logprobs"), abs=1e-4)
        assert row == expected_row


@pytest.mark.parametrize("protocol", ["independent", "cooperative"])
def test_rows_are_valid_logs(protocol: str, request: pytest.FixtureRequest, tmp_path: Any) -> None:
    table = request.getfixturevalue(protocol)
    assert table.schema.equals(SCHEMA)
    assert [fault for row in table.to_pylist() for fault in row_faults(row)] == []
    write_logs(table, tmp_path / "logs", GROUPS)
    assert validate_logs(tmp_path / "logs").ok
    assert set(table["protocol"].to_pylist()) == {protocol}


@pytest.mark.parametrize(("protocol", "turns"), [("independent", (1,)), ("cooperative", (1, 2))])
def test_every_group_answers_every_question_k_times_a_turn(
    protocol: str, turns: Sequence[int], request: pytest.FixtureRequest
) -> None:
    rows = request.getfixturevalue(protocol).to_pylist()
    expected = {
        (question.question_id, group, turn, sample)
        for question in QUESTIONS.questions
        for group in GROUPS
        for turn in turns
        for sample in range(K)
    }
    assert {key(row) for row in rows} == expected
    assert len(rows) == len(expected)


def test_rows_say_what_was_asked_and_said(cooperative: pa.Table) -> None:
    known = {question.question_id: question for question in QUESTIONS.questions}
    for row in cooperative.to_pylist():
        question = known[row["question_id"]]
        assert row["question"] == question.text
        assert (row["kind"], row["topic"], row["split"]) == (question.kind, question.topic, question.split)
        assert (row["source"], row["references"]) == (question.source, list(question.references))
        assert row["prompt_ids"] == TOKENS.prompt(row["messages"])
        assert row["response"] == TOKENS.decode(row["response_ids"])
        assert 0 < len(row["response_ids"]) == len(row["behaviour_logprobs"]) <= BUDGET
        assert row["model_hash"] == "ab12"


@pytest.mark.parametrize("size", [1, 3])
def test_rows_do_not_depend_on_how_many_questions_are_played_together(
    model: Any, cooperative: pa.Table, size: int
) -> None:
    tables = list(roll_out(model, plan(2, questions_per_batch=size), QUESTIONS.questions))
    assert len(tables) == -(-len(QUESTIONS.questions) // size)
    assert_same(pa.concat_tables(tables), cooperative)


def test_rows_do_not_depend_on_which_questions_are_asked(model: Any, independent: pa.Table) -> None:
    asked = QUESTIONS.questions[2:0:-1]
    ids = [question.question_id for question in asked]
    wanted = independent.filter(np.isin(independent["question_id"].to_pylist(), ids))
    assert_same(pa.concat_tables(roll_out(model, plan(), asked)), wanted)


def test_the_first_turn_is_the_same_under_both_protocols(independent: pa.Table, cooperative: pa.Table) -> None:
    said = {key(row): row["response_ids"] for row in cooperative.to_pylist()}
    assert all(said[key(row)] == row["response_ids"] for row in independent.to_pylist())


def test_peers_are_what_the_others_said_the_turn_before_in_the_same_game(cooperative: pa.Table) -> None:
    rows = {key(row): row for row in cooperative.to_pylist()}
    for (question_id, group, turn, sample), row in rows.items():
        others = [peer for peer in GROUPS if peer != group] if turn == 2 else []
        assert row["peers"] == [
            {"group": peer, "response": rows[question_id, peer, 1, sample]["response"]} for peer in others
        ]
        assert all(f"- {peer['response']}" in row["messages"][-1]["content"] for peer in row["peers"])


def test_another_seed_gives_other_samples_and_the_same_one_the_same(model: Any, independent: pa.Table) -> None:
    assert_same(played(model, plan()), independent)
    other = played(model, plan(seed=6))
    pairs = zip(other["response_ids"].to_pylist(), independent["response_ids"].to_pylist(), strict=True)
    assert sum(one != two for one, two in pairs) > len(other) / 2
    assert not set(other["seed"].to_pylist()) & set(independent["seed"].to_pylist())


def test_no_two_responses_share_a_seed(cooperative: pa.Table) -> None:
    drawn = cooperative["seed"].to_pylist()
    assert len(set(drawn)) == len(drawn)
    assert len({tuple(ids) for ids in cooperative["response_ids"].to_pylist()}) > len(drawn) / 2


@pytest.mark.parametrize("turns", [1, 2])
def test_progress_reports_the_prompts_that_were_promised(model: Any, turns: int) -> None:
    class Count(Silent):
        done = 0

        def advance(self, n: int = 1) -> None:
            self.done += n

    count, how = Count(), plan(turns)
    list(roll_out(model, how, QUESTIONS.questions, count))
    assert count.done == prompts_of(how, QUESTIONS.questions)


class Echo:
    """A generator that answers everything with the same two tokens."""

    def generate(self, prompts: Any, seeds: Any, sampling: Any, stop_ids: Any, on_progress: Any = None) -> Any:
        return [[Generated([4, 3], [-1.0, -1.0], finished=True) for _ in row] for row in seeds]


def lines_run(questions: int) -> int:
    """Lines of the package `envs` that a rollout of so many questions runs; each turn of a loop counts."""
    asked = QuestionSet(
        name="many",
        questions=tuple(Question(question_id=f"q{i}", text="what ?", kind="subjective") for i in range(questions)),
    )
    many = replace(game(2, response_tokens=BUDGET), questions=asked, reader=AnswerReader(asked))
    folder, lines = str(Path(envs.__file__).parent), 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(folder):
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        (table,) = roll_out(Echo(), plan(game=many, questions_per_batch=questions), asked.questions)
    finally:
        sys.settrace(before)
    assert table.num_rows == questions * len(GROUPS) * 2 * K
    return lines


def test_the_work_grows_with_the_games_and_not_with_their_square() -> None:
    few = lines_run(10)
    assert few > 0
    assert lines_run(20) <= 2.05 * few


def test_groups_whose_prompts_come_out_equal_are_refused_before_they_are_asked() -> None:
    class Unasked:
        def generate(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("a prompt was answered")

    twins = GROUP_SET.model_copy(update={"groups": (*GROUP_SET.groups, Group(name="twin")), "preferences": ()})
    with pytest.raises(DataError, match="groups 'neutral' and 'twin' get the same prompt"):
        list(roll_out(Unasked(), replace(plan(), game=replace(plan().game, groups=twins)), QUESTIONS.questions))


@pytest.mark.parametrize("protocol", [name for name, entry in PROTOCOLS.items() if entry.most > 1])
def test_every_protocol_begins_alike_and_gives_valid_logs_however_questions_are_batched(
    model: Any, independent: pa.Table, protocol: str
) -> None:
    how = plan(2, game=game(2, response_tokens=BUDGET, protocol=protocol))
    table = played(model, how)
    assert [fault for row in table.to_pylist() for fault in row_faults(row)] == []
    assert set(table["protocol"].to_pylist()) == {protocol}
    said = {key(row): row["response_ids"] for row in table.to_pylist()}
    assert all(said[key(row)] == row["response_ids"] for row in independent.to_pylist())
    assert_same(played(model, replace(how, questions_per_batch=1)), table)


def test_the_placebo_shows_as_many_answers_of_the_same_groups_to_one_other_question(model: Any) -> None:
    table = played(model, plan(2, game=game(2, response_tokens=BUDGET, protocol="placebo")))
    rows = {key(row): row for row in table.to_pylist()}
    for (question_id, group, turn, sample), row in rows.items():
        peers = [peer for peer in GROUPS if peer != group] if turn == 2 else []
        assert [peer["group"] for peer in row["peers"]] == peers
        matching = {
            other.question_id
            for other in QUESTIONS.questions
            if all(
                rows[other.question_id, peer["group"], 1, sample]["response"] == peer["response"]
                for peer in row["peers"]
            )
        }
        assert matching - {question_id}
        assert all(f"- {peer['response']}" in row["messages"][-1]["content"] for peer in row["peers"])
