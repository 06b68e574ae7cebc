"""What is sent to Ray Data's vLLM stage and what is read of it. No engine is started."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.data.llm import vLLMEngineProcessorConfig
from ray.llm._internal.batch.stages.vllm_engine_stage import vLLMEngineStage, vLLMOutputData

from trialign_ray.errors import MissingExtraError, ModelError
from trialign_ray.inference import vllm
from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.inference.vllm import VllmEngine, VllmGenerator, read, rows_of

SAMPLED = Sampling(5, 0.7, 2)
STOP = [2, 7]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    monkeypatch.setattr(vllm, "find_spec", lambda name: name)
    return VllmEngine(rows=16, max_model_len=None, cache_gib=None, eager=False)


def adapter_of(folder: Path, **config: Any) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def answered(row: dict[str, Any]) -> dict[str, Any]:
    """The row as the stage leaves it, by the class that the stage itself fills: it answers its own number, then 7."""
    tokens = [row["row"] + 10, 7]
    logprobs = [{token: {"logprob": -token / 100, "rank": 1, "decoded_token": None}} for token in tokens]
    output = vLLMOutputData(prompt="", num_input_tokens=3, generated_tokens=tokens, logprobs=logprobs)
    return {**row, **output.model_dump()}


def test_without_vllm_the_engine_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"docker/Dockerfile\.vllm, or run: pip install vllm=={vllm.VERSION}"):
        VllmEngine(rows=16, max_model_len=None, cache_gib=None, eager=False)


def test_a_sample_is_a_row_with_a_seed_of_its_own_and_the_whole_distribution() -> None:
    rows = list(rows_of([[1, 2], [3]], [[11, 12], [2**62, 14]], SAMPLED, STOP, None))
    assert [(row["row"], row["tokenized_prompt"], row["sampling_params"]["seed"]) for row in rows] == [
        (0, [1, 2], 11),
        (1, [1, 2], 12),
        (2, [3], 2**62),
        (3, [3], 14),
    ]
    for row in rows:
        assert "model" not in row
        asked = row["sampling_params"]
        assert (asked["temperature"], asked["top_p"], asked["top_k"], asked["max_tokens"]) == (0.7, 1.0, -1, 5)
        assert (asked["stop_token_ids"], asked["ignore_eos"], asked["logprobs"]) == (STOP, True, 0)


def test_every_row_names_the_adapter_that_answers() -> None:
    assert {row["model"] for row in rows_of([[1], [2]], [[1], [2]], Sampling(5), STOP, "/adapters/a")} == {
        "/adapters/a"
    }


def test_what_the_stage_leaves_is_read() -> None:
    row = answered({"row": 3})
    assert read(row) == {"row": 3, "ids": [13, 7], "logprobs": [-0.13, -0.07]}


def test_the_settings_are_those_of_ray_s_processor(engine: VllmEngine) -> None:
    config = vLLMEngineProcessorConfig(**engine.settings(Path("/m"), None, "bfloat16", 3, 2.0))
    assert (config.model_source, config.get_concurrency(), config.batch_size) == (
        "/m",
        {"min_size": 3, "max_size": 3},
        16,
    )
    kwargs = config.engine_kwargs
    assert (kwargs["logprobs_mode"], kwargs["generation_config"], kwargs["dtype"]) == (
        "processed_logprobs",
        "vllm",
        "bfloat16",
    )
    assert kwargs["tensor_parallel_size"] == 2
    assert not {"max_model_len", "kv_cache_memory_bytes", "enable_lora"} & set(kwargs)
    assert not any((config.chat_template_stage, config.tokenize_stage, config.detokenize_stage))


@pytest.mark.parametrize(("gpus", "each"), [(0.0, 1), (0.5, 1), (1.0, 1), (2.0, 2)])
def test_an_engine_is_one_actor_of_a_cpu_and_its_gpus_without_a_placement_group_of_its_own(
    engine: VllmEngine, gpus: float, each: int
) -> None:
    config = vLLMEngineProcessorConfig(**engine.settings(Path("/m"), None, "float32", 1, gpus))
    assert config.engine_kwargs["tensor_parallel_size"] == each
    made = {"engine_kwargs": config.engine_kwargs, "placement_group_config": config.placement_group_config}
    stage = vLLMEngineStage(fn_constructor_kwargs=made, map_batches_kwargs={})
    assert stage.map_batches_kwargs == {"num_cpus": 1.0} | ({"num_gpus": gpus} if gpus else {})


@pytest.mark.parametrize(
    ("workers", "rows", "engines", "size", "at_once", "sent"),
    [
        (1, 12, 1, 12, 1, 1),
        (2, 12, 2, 6, 1, 1),
        (2, 33, 2, 9, 2, 2),
        (4, 3, 3, 1, 1, 1),
        (2, 320, 2, 16, 8, 10),
        (3, 97, 3, 11, 3, 3),
        (2, 48_000, 2, 16, 8, 16),
    ],
)
def test_every_engine_gets_a_part_of_the_rows(
    engine: VllmEngine, workers: int, rows: int, engines: int, size: int, at_once: int, sent: int
) -> None:
    settings = VllmGenerator(engine.settings(Path("/m"), None, "float32", workers, 0.0), None).shared_out(rows)
    config = vLLMEngineProcessorConfig(**settings)
    assert (config.get_concurrency()["max_size"], config.batch_size) == (engines, size)
    assert (config.max_concurrent_batches, config.max_tasks_in_flight_per_actor) == (at_once, sent)


def test_the_limits_of_the_specification_reach_the_engine(engine: VllmEngine) -> None:
    limited = VllmEngine(rows=16, max_model_len=512, cache_gib=1.5, eager=True)
    kwargs = limited.settings(Path("/m"), None, "float32", 1, 0.0)["engine_kwargs"]
    assert (kwargs["max_model_len"], kwargs["kv_cache_memory_bytes"], kwargs["enforce_eager"]) == (512, 3 * 2**29, True)


@pytest.mark.parametrize(
    ("config", "rank"), [({"r": 8}, 8), ({"r": 12}, 16), ({"r": 4, "rank_pattern": {"q_proj": 40}}, 64)]
)
def test_memory_for_adapters_is_of_the_next_rank_that_vllm_has(
    engine: VllmEngine, tmp_path: Path, config: dict[str, Any], rank: int
) -> None:
    kwargs = engine.settings(Path("/m"), adapter_of(tmp_path, **config), "float32", 1, 0.0)["engine_kwargs"]
    assert (kwargs["enable_lora"], kwargs["max_lora_rank"]) == (True, rank)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 600}, "rank 600, and vLLM takes at most 512"),
        ({}, "is no configuration of a LoRA adapter"),
        ({"r": 8, "use_dora": True}, "is DoRA, which vLLM does not take"),
    ],
)
def test_an_adapter_that_vllm_does_not_take_is_refused(
    engine: VllmEngine, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        engine.spread(Path("/m"), adapter_of(tmp_path, **config), "float32", 1, 0.0)


def test_answers_come_back_in_the_order_of_prompts_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VllmGenerator, "_answered", lambda _, rows: (read(answered(row)) for row in reversed(rows)))
    done: list[int] = []
    found = VllmGenerator({}, None).generate([[1], [2], [3]], [[1, 2]] * 3, SAMPLED, STOP, done.append)
    assert [[response.ids for response in row] for row in found] == [
        [[10, 7], [11, 7]],
        [[12, 7], [13, 7]],
        [[14, 7], [15, 7]],
    ]
    assert found[2][1] == Generated([15, 7], [-0.15, -0.07], True)
    assert sum(done) == 3


def test_a_response_that_was_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VllmGenerator, "_answered", lambda _, rows: (read(answered(row)) for row in rows))
    ((response,),) = VllmGenerator({}, None).generate([[1]], [[1]], Sampling(2), [2])
    assert not response.finished


def test_an_engine_that_fails_is_told_with_the_place_of_its_own_words(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Any) -> Any:
        raise ray.exceptions.RayError("a trace\nRuntimeError: Engine core initialization failed. See root cause above.")

    monkeypatch.setattr(ray.data.llm, "build_processor", lambda *_, **__: failing)
    monkeypatch.setattr(ray.data, "from_items", lambda rows: rows)
    generator = engine.spread(Path("/m"), None, "float32", 1, 0.0)
    with pytest.raises(ModelError, match=r"vLLM: RuntimeError: Engine core .* above\. Why is in .* worker-\*\.out"):
        generator.generate([[1]], [[1]], Sampling(2), [2])


def test_rows_that_are_lost_end_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def some(_: VllmGenerator, rows: Sequence[dict[str, Any]]) -> Any:
        return (read(answered(row)) for row in rows[1:])

    monkeypatch.setattr(VllmGenerator, "_answered", some)
    with pytest.raises(ModelError, match="vLLM answered 1 of 2 rows"):
        VllmGenerator({}, None).generate([[1]], [[1, 2]], SAMPLED, STOP)
