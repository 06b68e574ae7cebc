"""Which responses compete in a group's prompt: its own first ones, and right ones that it would not have found."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.data.samples import table
from trialign_ray.actors import right_answers
from trialign_ray.actors.entry_files import answer_number
from trialign_ray.actors.replay_buffer import RolloutBuffer
from trialign_ray.config.preferences import RULE
from trialign_ray.data.batch import NO_ANSWER, GroupBatch
from trialign_ray.data.columns import Columns
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.errors import DataError
from trialign_ray.rewards.preference import preference_score

from .plain_choice import plain_choice
from .samples import BRIEF, END, GROUPS, Row, buffer, said, spec, wrong

PEERS_RIGHT = [
    said("neutral", "It is the old city of Lima", [20, 21, 22, END]),
    said("farmer", "Lima", [23, END]),
    said("farmer", "It is Lima", [24, 25, END], sample=1),
]


def responses(batch: GroupBatch, q: int = 0) -> list[list[int]]:
    return [batch.response(n).tolist() for n in batch.candidates(q)]


def own_and_borrowed(batch: GroupBatch) -> tuple[list[list[int]], list[list[int]]]:
    found = responses(batch)
    return (
        [ids for ids, mine in zip(found, batch.own_n, strict=True) if mine],
        [ids for ids, mine in zip(found, batch.own_n, strict=True) if not mine],
    )


@pytest.mark.parametrize("own", [1, 2, 3, 6])
def test_own_candidates_are_the_distinct_first_samples_of_turn_1(tmp_path: Path, own: int) -> None:
    """Among the first `own` samples; a repetition counts once and draws no later sample in."""
    ids = [[7, END], [8, END], [7, END], [6, 6, END]]
    rows = [said("nurse", f"answer {k}", ids[k], sample=k) for k in (3, 1, 0, 2)]
    later = [said("nurse", "Cusco again", [5, END], turn=2, protocol="cooperative")]
    batch = buffer(tmp_path, [*rows, *later, *wrong()[:2]], own=own).batch(["q0"])
    expected = {1: [[7, END]], 2: [[7, END], [8, END]], 3: [[7, END], [8, END]], 6: [[7, END], [8, END], [6, 6, END]]}
    assert responses(batch) == expected[own]
    assert batch.own_n.all()


def test_borrowed_responses_are_the_peers_right_ones(tmp_path: Path) -> None:
    batch = buffer(tmp_path, [*wrong()[2:], *PEERS_RIGHT, said("farmer", "Cusco", [26, END], sample=2)]).batch(["q0"])
    own, borrowed = own_and_borrowed(batch)
    assert own == [[7, END]]
    assert sorted(borrowed) == [[20, 21, 22, END], [23, END], [24, 25, END]]
    assert batch.truth_n.tolist() == [0, 1, 1, 1]
    assert len(set(batch.answer_n.tolist())) == 2


@pytest.mark.parametrize("borrowed", [0, 1, 2, 3])
def test_no_more_are_borrowed_than_asked_for_and_those_that_suit_the_group_come_first(
    tmp_path: Path, borrowed: int
) -> None:
    """The nurse likes at most two words: 'Lima' (1 word) suits her better than three or six."""
    found = own_and_borrowed(buffer(tmp_path, [*wrong()[2:], *PEERS_RIGHT], borrowed=borrowed).batch(["q0"]))[1]
    assert found == [[23, END], [24, 25, END], [20, 21, 22, END]][:borrowed]


def test_another_group_s_preference_reverses_the_order(tmp_path: Path) -> None:
    long: Row = {"preference": '{"rule":"min_words","words":8}', "reward_preference": 0.25}
    rows = [said("nurse", "Cusco", [7, END], **long), *PEERS_RIGHT]
    assert own_and_borrowed(buffer(tmp_path, rows).batch(["q0"]))[1] == [[20, 21, 22, END], [24, 25, END], [23, END]]


def test_a_borrowed_response_earns_what_this_group_would_give_it(tmp_path: Path) -> None:
    batch = buffer(tmp_path, [*wrong()[2:], *PEERS_RIGHT]).batch(["q0"])
    rule = RULE.validate_json(BRIEF)
    texts = ["Lima", "It is Lima", "It is the old city of Lima"]
    expected = [0.3 * 0.5, *(0.7 + 0.3 * preference_score(rule, text) for text in texts)]
    assert batch.utility_n.tolist() == pytest.approx(expected)


def test_the_control_has_no_preference_and_values_truth_alone(tmp_path: Path) -> None:
    rows = [said("neutral", "Cusco", [7, END]), said("farmer", "Lima", [23, END]), said("nurse", "Lima", [24, END])]
    batch = buffer(tmp_path, rows, group="neutral").batch(["q0"])
    assert batch.utility_n.tolist() == [0, 1, 1]


def test_a_response_that_was_cut_off_is_not_borrowed(tmp_path: Path) -> None:
    rows = [*wrong()[2:], said("neutral", "Lima", [23]), said("farmer", "Lima", [24, END])]
    assert own_and_borrowed(buffer(tmp_path, rows).batch(["q0"]))[1] == [[24, END]]


def test_a_response_of_one_s_own_or_of_two_peers_is_not_borrowed_again(tmp_path: Path) -> None:
    rows = [said(group, "Lima", [23, END]) for group in GROUPS]
    rows += [said("nurse", "Lima .", [24, END], sample=1), said("farmer", "Lima .", [24, END], sample=1)]
    rows += [said(group, "Lima !", [25, END], sample=2) for group in ("neutral", "farmer")]
    own, borrowed = own_and_borrowed(buffer(tmp_path, rows).batch(["q0"]))
    assert own == [[23, END], [24, END]]
    assert borrowed == [[25, END]]


def test_own_right_answers_of_later_turns_are_offered_behind_the_first_prompt(tmp_path: Path) -> None:
    later: Row = {"turn": 2, "protocol": "cooperative", "prompt_ids": [1, 2, 3, 4, 5]}
    rows = [
        *wrong(),
        said("nurse", "Lima", [23, END], **later),
        said("nurse", "Cusco", [24, END], sample=1, **later),
        said("farmer", "Lima .", [25, END], **later),
    ]
    batch = buffer(tmp_path, rows).batch(["q0"])
    own, borrowed = own_and_borrowed(batch)
    assert own == [[7, END]]
    assert sorted(borrowed) == [[23, END], [25, END]]
    assert batch.prompt(0).tolist() == [1, 2, 3, GROUPS.index("nurse")]


def test_nothing_is_borrowed_for_a_question_without_a_truth(tmp_path: Path) -> None:
    subjective: Row = {"kind": "subjective", "references": [], "reward_truth": None}
    rows = [said(group, "Lima", [20 + k, END], **subjective) for k, group in enumerate(GROUPS)]
    batch = buffer(tmp_path, rows).batch(["q0"])
    assert responses(batch) == [[22, END]]
    assert not batch.objective_q.any()
    assert batch.truth_n.tolist() == [0]
    assert batch.utility_n.tolist() == [0.5]


def test_a_group_without_peers_borrows_its_own_later_answers_alone(tmp_path: Path) -> None:
    rows = [said("neutral", "Cusco", [7, END]), said("neutral", "Lima", [8, END], turn=2, protocol="cooperative")]
    write_logs(table(rows), tmp_path / "logs", ["neutral"])
    batch = RolloutBuffer(spec(tmp_path, "neutral")).batch(["q0"])
    assert own_and_borrowed(batch) == ([[7, END]], [[8, END]])


def test_the_order_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Ties, which sets and hashes of this process would order, included."""
    texts = [f"Lima {letter}" for letter in "abcdefgh"]
    rows = [*wrong()[2:], *(said("farmer", text, [20 + k, END], sample=k) for k, text in enumerate(texts))]
    here = responses(buffer(tmp_path, rows, borrowed=8).batch(["q0"]))
    assert len(here) == 9
    assert {_in_another_process(tmp_path, seed) for seed in ("1", "2")} == {str(here)}


def _in_another_process(folder: Path, hash_seed: str) -> str:
    program = (
        "import sys; from pathlib import Path; from tests.unit.actors import samples; "
        "from trialign_ray.actors.replay_buffer import RolloutBuffer; "
        "batch = RolloutBuffer(samples.spec(Path(sys.argv[1]), 'nurse', borrowed=8)).batch(['q0']); "
        "print([batch.response(n).tolist() for n in batch.candidates(0)])"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, cwd=root, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def test_held_out_rows_are_never_served(tmp_path: Path) -> None:
    right = said("farmer", "Lima", [23, END], question_id="q1", sample=1)
    held = [row | {"split": "heldout"} for row in (*wrong("q1"), right)]
    found = buffer(tmp_path, [*wrong(), *held])
    assert found.question_ids == ("q0",)
    assert responses(found.batch(["q1"])) == []


def test_the_bank_holds_right_rows_of_training_questions_once_for_all_groups(tmp_path: Path) -> None:
    wrongs = [said(group, "Cusco", [7, END], sample=k) for group in GROUPS for k in range(1, 40)]
    held_out = [said("farmer", "Lima", [8, END], sample=k, question_id="q1", split="heldout") for k in range(40)]
    write_logs(table([*wrong(), *PEERS_RIGHT, *wrongs, *held_out]), tmp_path / "logs", GROUPS)
    for group in GROUPS:
        RolloutBuffer(spec(tmp_path, group)).batch(["q0"])
    (bank,) = (tmp_path / "cache").glob("*-right-truth")
    assert len(Columns(bank).numbers["by"]) == len(PEERS_RIGHT)
    assert len(list((tmp_path / "cache").iterdir())) == 1 + len(GROUPS)


@pytest.mark.parametrize("changed", ["_LAYOUT", "package_version"])
def test_the_bank_of_another_layout_or_version_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    buffer(tmp_path, wrong()).batch(["q0"])
    (before,) = (tmp_path / "cache").glob("*-right-truth")
    monkeypatch.setattr(right_answers, changed, 99 if changed == "_LAYOUT" else lambda: "99.0")
    RolloutBuffer(spec(tmp_path, "farmer")).batch(["q0"])
    assert len({before, *(tmp_path / "cache").glob("*-right-truth")}) == 2


def random_row(draw: random.Random, question_id: str, group: str, sample: int) -> Row:
    response = draw.choice(["Lima", "It is Lima", "Lima of course it is", "Cusco", "Cusco ?", "Lima !"])
    ids = [draw.randrange(1, 5) for _ in range(draw.randrange(1, 3))] + [END] * (draw.random() < 0.8)
    turn = draw.choice([1, 1, 1, 2])
    mine = {"prompt_ids": [1, GROUPS.index(group), draw.choice([0, 0, 1])], "turn": turn}
    if draw.random() < 0.2:
        mine |= {"preference": None, "preference_cue": "explicit", "reward_preference": draw.random()}
    if draw.random() < 0.1:
        mine |= {"reward_truth": None, "kind": "subjective", "references": []}
    return said(group, response, ids, sample, question_id=question_id, **mine)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_served_is_the_choice_said_again_without_index_and_files(tmp_path: Path, seed: int) -> None:
    """Bit by bit, of logs in any order with repetitions, later turns, several prompts and responses without end."""
    draw = random.Random(seed)
    names = [f"q{n}" for n in range(12)]
    rows = [random_row(draw, draw.choice(names), group, k) for group in GROUPS for k in range(60)]
    write_logs(table(rows), tmp_path / "logs", GROUPS)
    logged = read_logs(tmp_path / "logs").to_pylist()
    for group in GROUPS:
        given = spec(tmp_path, group, own=draw.randrange(1, 7), borrowed=draw.randrange(5))
        given = replace(given, candidates=given.candidates.model_copy(update={"later_turns": draw.random() < 0.5}))
        batch = RolloutBuffer(given).batch(names)
        for q, name in enumerate(names):
            prompt, candidates = plain_choice(given, logged, name)
            served = [
                (batch.response(n).tolist(), float(batch.utility_n[n]), float(batch.truth_n[n]), bool(batch.own_n[n]))
                for n in batch.candidates(q)
            ]
            assert (batch.prompt(q).tolist(), served) == (prompt, candidates)


def test_files_of_entries_are_made_once(tmp_path: Path) -> None:
    served = responses(buffer(tmp_path, wrong()).batch(["q0"]))
    shutil.rmtree(tmp_path / "logs" / "group=nurse")
    assert responses(RolloutBuffer(spec(tmp_path, "nurse")).batch(["q0"])) == served


def test_a_damaged_part_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    write_logs(table(wrong()), tmp_path / "logs", GROUPS)
    part = tmp_path / "logs" / "group=nurse" / "part-0.parquet"
    pq.write_table(pq.ParquetFile(part).read(), part, compression="snappy")
    with pytest.raises(DataError, match="sha256"):
        RolloutBuffer(spec(tmp_path, "nurse")).batch(["q0"])
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_data_may_name_code_the_files_are_the_buffer_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reward of the user's own may be another one tomorrow, under the same name."""
    monkeypatch.setenv("TRIALIGN_TRUSTED_MODULES", "mine")
    buffer(tmp_path, wrong()).batch(["q0"])
    assert [folder.name.endswith("-right-truth") for folder in (tmp_path / "cache").iterdir()] == [True]


def test_a_question_that_the_group_was_not_asked_has_no_candidates(tmp_path: Path) -> None:
    rows = [*wrong(), *wrong("q1")[:2], said("nurse", "Lima", [23, END], question_id="q1", turn=2)]
    found = buffer(tmp_path, rows)
    assert found.question_ids == ("q0",)
    assert buffer(tmp_path, rows, group="farmer").question_ids == ("q0", "q1")
    batch = found.batch(["q1", "q0"])
    assert [len(batch.candidates(q)) for q in range(2)] == [0, 1]
    assert [batch.prompt(q).tolist() for q in range(2)] == [[], [1, 2, 3, 2]]


def test_of_several_prompts_the_one_with_the_most_responses_is_taken_and_right_ones_to_others_are_borrowed(
    tmp_path: Path,
) -> None:
    rows = wrong()
    rows += [said("nurse", name, ids, 1 + k, prompt_ids=[4, 4]) for k, (name, ids) in enumerate(OTHER_PROMPT)]
    batch = buffer(tmp_path, rows).batch(["q0"])
    assert batch.prompt(0).tolist() == [4, 4]
    assert own_and_borrowed(batch) == ([ids for _, ids in OTHER_PROMPT], [])
    rows += [said("nurse", "Lima", [30, END], 9)]
    assert own_and_borrowed(buffer(tmp_path, rows).batch(["q0"])) == ([ids for _, ids in OTHER_PROMPT], [[30, END]])


OTHER_PROMPT = [("Cusco", [31, END]), ("Cusco", [32, END]), ("Lima", [33, END])]


@pytest.fixture
def several(tmp_path: Path) -> RolloutBuffer:
    rows = [*wrong("q1"), *wrong("q2"), *wrong(), *PEERS_RIGHT]
    rows += [said("nurse", "no", [4, 5, 6, END], sample=1, question_id="q2", answer=None, answer_kind="refusal")]
    return buffer(tmp_path, [row for row in rows if row["group"] == "nurse" or row["response"] != "Cusco"])


def test_a_batch_is_its_questions_in_the_order_asked(several: RolloutBuffer) -> None:
    assert several.question_ids == ("q0", "q1", "q2")
    whole = several.batch(["q2", "q0", "q1"])
    for q, question_id in enumerate(["q2", "q0", "q1"]):
        alone = several.batch([question_id])
        part = slice(whole.candidates(q).start, whole.candidates(q).stop)
        assert responses(whole, q) == responses(alone)
        assert whole.prompt(q).tolist() == alone.prompt(0).tolist()
        for name in ("utility_n", "truth_n", "answer_n", "own_n"):
            assert getattr(whole, name)[part].tolist() == getattr(alone, name).tolist()


def test_offsets_cover_the_flat_arrays_exactly(several: RolloutBuffer) -> None:
    batch = several.batch(["q0", "q2", "q1"])
    for offsets, flat in (
        (batch.prompt_offset_q, batch.prompt_t),
        (batch.response_offset_n, batch.response_t),
        (batch.candidate_offset_q, batch.utility_n),
    ):
        assert offsets[0] == 0
        assert offsets[-1] == len(flat)
        assert (np.diff(offsets) > 0).all()
    counts = {len(getattr(batch, name)) for name in ("utility_n", "truth_n", "answer_n", "own_n", "reference_logp_n")}
    assert counts == {len(batch.response_offset_n) - 1}
    assert batch.response_t.dtype == batch.prompt_t.dtype == np.int32


def test_reference_log_probs_are_nan_until_stored_and_then_served(several: RolloutBuffer) -> None:
    assert np.isnan(several.batch(["q2"]).reference_logp_n).all()
    several.store_reference("q2", np.array([-1.5, -2.5], np.float32))
    assert several.batch(["q2"]).reference_logp_n.tolist() == [-1.5, -2.5]
    both = several.batch(["q1", "q2"]).reference_logp_n
    assert np.isnan(both).tolist() == [True, False, False]


def test_a_state_without_references_makes_no_column_of_them(tmp_path: Path) -> None:
    found = buffer(tmp_path, wrong())
    found.batch(["q0"])
    assert len(found.state().reference_logp_n) == 0
    assert "_reference_n" not in vars(found)


def test_state_brings_another_buffer_to_the_same_point(several: RolloutBuffer, tmp_path: Path) -> None:
    several.batch(["q0", "q1"])
    several.store_reference("q1", np.array([-3.0], np.float32))
    kept = several.state()
    several.store_reference("q2", np.array([-1.0, -1.0], np.float32))
    again = RolloutBuffer(spec(tmp_path, "nurse"))
    again.load_state(kept)
    assert again.served == kept.served == 5
    assert again.batch(["q1"]).reference_logp_n.tolist() == [-3.0]
    assert np.isnan(again.batch(["q2"]).reference_logp_n).all()


def test_an_answer_has_one_number_in_all_groups(tmp_path: Path) -> None:
    rows = [said(group, "It is Lima", [20 + k, END]) for k, group in enumerate(GROUPS)]
    numbers = {int(buffer(tmp_path, rows, group=group).batch(["q0"]).answer_n[0]) for group in GROUPS}
    assert numbers == {answer_number("Lima")}


@given(st.text(), st.text())
def test_numbers_of_answers_are_positive_and_tell_answers_apart(one: str, other: str) -> None:
    assert 0 < answer_number(one) < 2**63
    assert (answer_number(one) == answer_number(other)) == (one == other)


def test_no_answer_has_the_number_of_none() -> None:
    assert answer_number(None) == NO_ANSWER
    assert answer_number("") != NO_ANSWER
