"""The tokens of a model's folder: what ends a turn is named by its tokenizer or by its generation configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import save_tiny, tiny_tokenizer
from trialign_ray.cli.logs import _completion
from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet
from trialign_ray.envs.question_game import game_config
from trialign_ray.errors import ModelError
from trialign_ray.models.loading import chat_tokens

IM_END, END_OF_TEXT, LIMA = (
    tiny_tokenizer().convert_tokens_to_ids(word) for word in ("<|im_end|>", "<|endoftext|>", "lima")
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A model whose tokenizer does not name the token with which its template ends a turn."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    generation(tmp_path, [END_OF_TEXT, IM_END])
    return tmp_path


def generation(folder: Path, eos: object) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))


def test_stop_tokens_of_the_generation_configuration_end_a_turn(folder: Path) -> None:
    found = chat_tokens(folder)
    assert set(found.stop_ids) == {IM_END, END_OF_TEXT}
    assert found.response("lima") == [LIMA, IM_END]


def test_collecting_stops_at_them(folder: Path) -> None:
    questions = QuestionSet(name="one", questions=(Question(question_id="q", text="what ?", references=("lima",)),))
    groups = GroupSet(groups=(Group(name="neutral"), Group(name="farmer")))
    assert IM_END in game_config(questions, groups, folder, 1, 8).tokens.stop_ids


def test_imports_end_responses_with_them(folder: Path) -> None:
    tokenize = _completion(str(folder), None, None).tokenize
    assert tokenize is not None
    assert tokenize.response("lima") == [LIMA, IM_END]


def test_a_folder_without_a_generation_configuration_has_the_tokenizer_s(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    assert chat_tokens(folder).stop_ids == (END_OF_TEXT,)


def test_a_generation_configuration_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{cut")
    with pytest.raises(ModelError, match=r"generation_config\.json: cannot be read"):
        chat_tokens(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        chat_tokens(tmp_path)
