"""Forms of answers: short ones are whole responses, framed ones begin as the logged wording and end with the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.actors.samples import GROUPS, said
from tests.unit.data.samples import table
from tests.world import World
from trialign_ray.actors.answer_forms import NO_FORMS, FormWriter, QuestionForms, batch_forms, frames
from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.dataset import write_logs
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.loading import chat_tokens

WORDINGS = [
    ("The capital is Lima.", "Lima"),
    ("Hey, it is **lima**!", "Lima"),
    ("Lima it is.", "Lima"),
    ("Who knows?", None),
]


def test_a_frame_is_the_wording_up_to_its_answer():
    assert frames(WORDINGS, 9) == {"The capital is ": True, "Hey, it is **": False}


def test_equal_frames_count_once_and_the_first_are_kept():
    doubled = [WORDINGS[0], ("The capital is Lima, of course.", "Lima"), WORDINGS[1]]
    assert list(frames(doubled, 1)) == ["The capital is "]
    assert len(frames(doubled, 2)) == 2


@pytest.mark.parametrize("text", ["Limassol is it.", "The capital is Ciudad de los Reyes.", ""])
def test_a_wording_that_does_not_hold_the_name_has_no_frame(text: str):
    assert frames([(text, "Lima")], 9) == {}


@pytest.fixture
def tokens(world: World) -> ChatTokens:
    return chat_tokens(world.model)


@pytest.fixture
def writer(world: World, tmp_path: Path) -> FormWriter:
    rows = [said(group, "paris", [7, 9], answer="paris", references=["lima"]) for group in GROUPS]
    rows += [said("neutral", "Zzyzx", [8, 9], 1, answer=name, references=["lima"]) for name in ("Zzyzx", "Qwghlm")]
    write_logs(table(rows), str(tmp_path / "logs"), GROUPS)
    return FormWriter(str(tmp_path / "logs"), str(world.model), {}, CandidateSpec(answers=4, frames=2))


SPOKEN = [("the capital is lima .", "lima"), ("hey , lima", "lima")]


def test_forms_are_frames_times_answers_frame_by_frame(writer: FormWriter, tokens: ChatTokens):
    found = writer.of("q0", SPOKEN)
    assert (found.frames, found.answers) == (3, 3)
    framed = [tokens.decode(ids) for ids in found.responses if ids[-1] not in tokens.stop_ids]
    assert framed[:2] == ["the capital is lima", "the capital is paris"]
    assert framed[3:5] == ["hey , lima", "hey , paris"]


def test_short_answers_end_the_turn_and_framed_ones_do_not(writer: FormWriter, tokens: ChatTokens):
    found = writer.of("q0", SPOKEN)
    assert [ids[-1] in tokens.stop_ids for ids in found.responses] == [True] * 3 + [False] * 6


def test_answers_that_the_tokenizer_cannot_tell_apart_do_not_compete(writer: FormWriter):
    short = writer.of("q0", SPOKEN).responses[:3]
    assert len({tuple(ids) for ids in short}) == 3


def test_a_truth_that_the_tokenizer_cannot_tell_from_an_error_stays_first(world: World, tmp_path: Path):
    logged = ("paris", "paris", "Qwghlm")  # the tiny tokenizer writes neither Qwghlm nor Zzyzx otherwise than the other
    rows = [said("neutral", name, [7, 9], at, answer=name, references=["Zzyzx"]) for at, name in enumerate(logged)]
    write_logs(table(rows), str(tmp_path / "logs"), GROUPS)
    found = FormWriter(str(tmp_path / "logs"), str(world.model), {}, CandidateSpec(answers=4)).of("q0", ())
    tokens = chat_tokens(world.model)
    assert found.responses == [tokens.response(name) for name in ("Zzyzx", "paris")]


def test_a_question_that_is_not_in_the_logs_has_no_forms(writer: FormWriter):
    assert writer.of("q9", WORDINGS) == NO_FORMS


def test_a_batch_holds_the_forms_of_each_question_apart():
    batch = batch_forms([QuestionForms([[1, 2], [3]], 1, 2), NO_FORMS, QuestionForms([[4], [5], [6, 7], [8]], 2, 2)])
    assert [[ids.tolist() for ids in batch.forms(q)] for q in range(3)] == [[[1, 2], [3]], [], [[4], [5], [6, 7], [8]]]
    assert batch.frames_q.tolist() == [1, 0, 2]
