"""What the page on models calls exact generates, and is exported, as its plain forward has it; the rest is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING

from trialign_ray.config.generators import ContinuousBatchingSpec, TransformersSpec
from trialign_ray.config.train import LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.inference.transformers import TransformersGenerator
from trialign_ray.models.adapter import with_adapter
from trialign_ray.models.base import CausalLM
from trialign_ray.models.loading import load_adapted, load_model, load_policy
from trialign_ray.trainer.guard import generation
from trialign_ray.trainer.guard.families import _NEEDED, SHAPES
from trialign_ray.trainer.guard.generation import refuse_wrong_generation, wrong_generation
from trialign_ray.trainer.guard.tiny import tiny_model

from .shapes import config, hybrids

PAGE = Path(__file__).parents[4] / "docs" / "models.md"
EXACT = dict(re.findall(r"^\| ([^|]+?) \| exact.*\| ([^|]+?) \|$", PAGE.read_text(encoding="utf-8"), re.M))
"""Published shapes and types -> what the page says of their responses."""
PLACES = [name for name, told in EXACT.items() if "counts places in a row" in told]
"""Types that count places in a row."""
REFUSED = [name for name, told in EXACT.items() if told.startswith("refused") and name not in PLACES]
"""Types whose responses are wrong however they are asked."""
STOP, TOKENS = list(range(112, 128)), 8
QUICK = ("Llama 3.x", "Gemma 3", "gpt-oss", "Qwen3-Next", "Granite 4 H", "DeepSeek V3", "LFM2", "Phi-4-mini")


def shape(name: str) -> Any:
    kind, changes = SHAPES.get(name, (name, _NEEDED.get(name, {})))
    return CONFIG_MAPPING[kind](**changes)


def sorted_out() -> list[Any]:
    """All that generate; those that are types alone in the long tests."""
    names = [name for name, told in EXACT.items() if told == "its own"]
    return [pytest.param(name, marks=() if name in SHAPES else pytest.mark.long) for name in names]


def prompts() -> list[list[int]]:
    """Of 3 to 14 tokens: on both sides of the copy's windows, and below its original lengths with a response."""
    rng = np.random.default_rng(0)
    return [rng.integers(1, 112, length).tolist() for length in (3, 14, 6, 11)]


def answers(model: CausalLM, asked: list[list[int]], temperature: float) -> list[list[Generated]]:
    seeds = [[2 * row, 2 * row + 1] for row in range(len(asked))]
    return TransformersGenerator(model).generate(asked, seeds, Sampling(TOKENS, temperature, 2), STOP)


def plain(model: CausalLM, prompt: list[int], said: Generated, temperature: float) -> list[float]:
    """Log-prob of each token in one forward of prompt and response."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *said.ids]]), use_cache=False).logits
    logp_tv = (logits[0, len(prompt) - 1 : -1].float() / temperature).log_softmax(-1)
    found: list[float] = logp_tv[torch.arange(len(said.ids)), torch.tensor(said.ids)].tolist()
    return found


@pytest.mark.parametrize("name", sorted_out())
def test_several_prompts_at_once_are_answered_as_the_plain_forward_has_it(name: str) -> None:
    model = tiny_model(shape(name))
    # Some copies are sure of every token at 1, and would be of a wrong one too; at 5 none is.
    for temperature in (0.0, 1.0, 5.0):
        for prompt, row in zip(prompts(), answers(model, prompts(), temperature), strict=True):
            for said in row:
                assert said.logprobs == pytest.approx(plain(model, prompt, said, temperature or 1.0), abs=2e-3)
    together = answers(model, prompts(), 0.0)
    alone = [answers(model, [prompt], 0.0)[0] for prompt in prompts()]
    assert [[said.ids for said in row] for row in alone] == [[said.ids for said in row] for row in together]
    refuse_wrong_generation(shape(name), TransformersSpec(), 2)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in SHAPES]
)
def test_a_merged_adapter_that_was_saved_is_the_adapter(name: str, tmp_path: Path) -> None:
    """As `trialign export` writes and compares them."""
    ids = torch.tensor([prompts()[1]])

    def logp(model: CausalLM) -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)

    model = tiny_model(shape(name))
    untrained = logp(model)
    cast("Any", model).save_pretrained(tmp_path / "model")
    _moved(model).save_pretrained(str(tmp_path / "adapter"))
    merging = load_adapted(tmp_path / "model", tmp_path / "adapter", "float32")
    merging.save_pretrained(str(tmp_path / "merged"), safe_serialization=True)
    adapted = logp(load_policy(tmp_path / "model", tmp_path / "adapter", "float32"))
    merged = logp(load_model(tmp_path / "merged", "float32"))
    assert (adapted.exp() * (adapted - merged)).sum(-1).mean() < 1e-5
    assert (adapted - merged).abs().max() < 2e-2  # of tokens that are never said, rounding is larger
    assert (adapted - untrained).abs().max() > 0.1


def _moved(model: CausalLM) -> Any:
    adapted = with_adapter(model, LoraSpec(rank=2))
    rng = torch.Generator().manual_seed(0)
    for name, parameter in cast("nn.Module", adapted).named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3, generator=rng)
    return adapted


@pytest.mark.parametrize("name", [PLACES[0], *(pytest.param(name, marks=pytest.mark.long) for name in PLACES[1:])])
def test_places_that_are_counted_in_a_row_are_refused_where_prompts_share_a_batch(name: str) -> None:
    with pytest.raises(ModelError, match=r"padding moves the shorter prompts.*Set generator\.rows to 2, so"):
        refuse_wrong_generation(shape(name), TransformersSpec(), 2)
    refuse_wrong_generation(shape(name), TransformersSpec(rows=2), 2)


@pytest.mark.long
@pytest.mark.parametrize("name", REFUSED)
def test_the_page_s_other_types_are_refused_however_they_are_asked(name: str) -> None:
    for rows in (96, 2):
        with pytest.raises(ModelError, match="get wrong responses"):
            refuse_wrong_generation(shape(name), TransformersSpec(rows=rows), 2)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("mamba", r"'mamba' would get wrong responses: decoded from its cache, log-probs differ by \d"),
        ("nemotron_h", r"decoded from its cache, log-probs differ by 0\.0\d"),
        ("bamba", r"its code cannot generate from a cache: ValueError: `get_seq_length`"),
    ],
)
def test_what_its_cache_does_not_keep_is_refused(kind: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        refuse_wrong_generation(shape(kind), TransformersSpec(), 1)


def test_attention_that_comes_once_in_some_layers_is_in_the_copy() -> None:
    """Jamba's has a period, Bamba's are numbered: without one their code cannot generate."""
    known: Any = CONFIG_MAPPING
    jamba = known["jamba"](use_mamba_kernels=False, attn_layer_period=4, attn_layer_offset=2)
    for each in (jamba, known["bamba"](attn_layer_indices=[3, 9]), hybrids()["jamba"]):
        assert wrong_generation(each, TransformersSpec(), 2) == ""


def test_an_engine_with_code_of_its_own_is_not_judged() -> None:
    refuse_wrong_generation(shape("mamba"), ContinuousBatchingSpec(), 1)
    assert wrong_generation(shape("mamba"), ContinuousBatchingSpec(), 1) is None


def test_a_model_without_a_small_copy_is_said_not_to_be_judged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(config: Any) -> CausalLM:
        raise RuntimeError("no copy")

    monkeypatch.setattr(generation, "tiny_model", fails)
    refuse_wrong_generation(config("llama"), TransformersSpec(), 1)
    assert "generation not judged: no small copy of the model: RuntimeError: no copy" in caplog.text
