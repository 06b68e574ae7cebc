"""Rows go through Ray Data to the actors of two engines and back, with a class of our own in the place of vLLM's."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import ray.data.llm
from ray.llm._internal.batch.stages.base import StatefulStageUDF

from trialign_ray.inference import vllm
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.vllm import VllmEngine

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(240)]


class Answering(StatefulStageUDF):
    """Answers with the last token of the prompt and the number of its own process, once two engines have rows."""

    def __init__(self, data_column: str, expected_input_keys: list[str], model: str, **_: Any) -> None:
        super().__init__(data_column, expected_input_keys)
        self.folder = Path(model)

    # The base class only raises here, so that mypy takes it for a coroutine.
    async def udf(self, rows: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        (self.folder / str(os.getpid())).touch()
        while len([*self.folder.iterdir()]) < 2:
            await asyncio.sleep(0.1)
        for row in rows:
            tokens = [int(row["tokenized_prompt"][-1]), os.getpid()]
            answer = {"generated_tokens": tokens, "logprobs": [{token: {"logprob": -0.5}} for token in tokens]}
            yield {self.IDX_IN_BATCH_COLUMN: row[self.IDX_IN_BATCH_COLUMN], **answer}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    build = ray.data.llm.build_processor

    def answering(*arguments: Any, **named: Any) -> Any:
        processor: Any = build(*arguments, **named)
        (stage,) = processor.stages.values()
        stage.__dict__["fn"] = Answering  # set as a field it would be validated, and the resources made once more
        return processor

    monkeypatch.setattr(ray.data.llm, "build_processor", answering)
    monkeypatch.setattr(vllm, "find_spec", lambda name: name)
    return VllmEngine(rows=64, max_model_len=None, cache_gib=None, eager=False)


def test_engines_that_have_all_cpus_are_handed_rows_and_share_them(engine: VllmEngine, tmp_path: Path) -> None:
    prompts = [[7, number] for number in range(6)]
    generator = engine.spread(tmp_path, None, "float32", 2, 0.0)
    found = generator.generate(prompts, [[1, 2]] * 6, Sampling(2, 0.7, 2), [0])
    assert [[response.ids[0] for response in row] for row in found] == [[number] * 2 for number in range(6)]
    assert [*Counter(response.ids[1] for row in found for response in row).values()] == [6, 6]
