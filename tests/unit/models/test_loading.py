"""The tokens of a model's folder: what ends a turn is named by its tokenizer or by its generation configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from trialign_ray.cli.logs import _completion
from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet
from trialign_ray.envs.game_config import game_config
from trialign_ray.errors import ModelError
from trialign_ray.models.loading import chat_tokens, load_adapted, load_model, load_policy, model_hash

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
    tokenize = _completion(str(folder), None, None, None, None).tokenize
    assert tokenize is not None
    assert tokenize.response("lima") == [LIMA, IM_END]


def test_a_folder_without_a_generation_configuration_has_the_tokenizer_s_and_the_template_s(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    found = chat_tokens(folder)
    assert found.stop_ids == (END_OF_TEXT, IM_END)
    assert found.response("lima") == [LIMA, IM_END]


def test_a_generation_configuration_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{cut")
    with pytest.raises(ModelError, match=r"generation_config\.json: cannot be read"):
        chat_tokens(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        chat_tokens(tmp_path)


LOADERS = pytest.mark.parametrize("load", [load_model, model_hash])


@pytest.fixture
def sharded(saved: Path, tmp_path: Path) -> Path:
    """A model in several weight files."""
    tiny_model().save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    return tmp_path


def test_a_sharded_model_is_the_same_model(sharded: Path, saved: Path) -> None:
    both = (load_model(folder, "float32").parameters() for folder in (sharded, saved))
    assert all(torch.equal(one, other) for one, other in zip(*both, strict=True))


@LOADERS
def test_a_missing_shard_is_named(sharded: Path, load: Callable[[Path], object]) -> None:
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(ModelError, match=rf"lacks 1 of \d+ weight files .*'{gone.name}' first\. Copy"):
        load(sharded)


@LOADERS
@pytest.mark.parametrize("content", ["{cut", "[]", '{"weight_map": 1}', "{}"])
def test_an_index_of_weights_that_cannot_be_read_is_named(
    sharded: Path, load: Callable[[Path], object], content: str
) -> None:
    (sharded / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json: is no index of weights"):
        load(sharded)


def test_weights_that_lack_a_tensor_are_refused(saved: Path, tmp_path: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    with pytest.raises(ModelError, match=r"its weights lack 1 tensors, 'model\.norm\.weight' first"):
        load_model(tmp_path)


def peft_adapter(folder: Path, config: PeftConfig) -> Path:
    """An adapter that changes the model."""
    torch.manual_seed(3)
    adapted = get_peft_model(tiny_model(), config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    adapted.save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("kind", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
def test_a_merged_adapter_answers_as_the_adapter_does(saved: Path, tmp_path: Path, kind: dict[str, Any]) -> None:
    adapter = peft_adapter(tmp_path, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **kind))
    ids = torch.tensor([[2, 7, 9, 11]])
    merged, adapted = load_adapted(saved, adapter, "float32"), load_policy(saved, adapter, "float32")
    with torch.no_grad():
        logits, wanted, plain = (m(input_ids=ids).logits for m in (merged, adapted, load_model(saved, "float32")))
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(wanted, plain, atol=1e-2)


def test_an_adapter_that_cannot_be_merged_is_refused(saved: Path, tmp_path: Path) -> None:
    adapter = peft_adapter(tmp_path, PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(ModelError, match=r"of this kind cannot be merged"):
        load_adapted(saved, adapter, "float32")
