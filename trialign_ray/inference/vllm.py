"""vLLM through Ray Data: each call is one pass of a dataset with a row a sample over engines in Ray actors.

The library itself is imported in the actors alone. It has dependencies of its own, so it lives in an environment or an
image of its own: docker/Dockerfile.vllm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

from trialign_ray.errors import MissingExtraError, ModelError
from trialign_ray.inference.base import Generated, Sampling

VERSION = "0.32.0"
"""That docker/Dockerfile.vllm has, and that was tested."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Of adapters for which vLLM has kernels; the next one above takes a rank between."""
_AT_ONCE, _SENT = 8, 16
"""Batches that an engine works on, and that it is sent, at most; Ray Data's defaults."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VllmEngine:
    """Starts engines in a Ray cluster."""

    rows: int
    """Responses that are sent to an engine together."""
    max_model_len: int | None
    """Longest prompt and response together."""
    cache_gib: float | None
    """Memory of an engine's keys and values."""
    eager: bool
    """Without compiled kernels."""

    def __post_init__(self) -> None:
        """Raises MissingExtraError where vLLM is not installed."""
        if find_spec("vllm") is None:
            raise MissingExtraError(
                f"vllm: not installed. Build the image docker/Dockerfile.vllm, or run: pip install vllm=={VERSION} in "
                "an environment of its own; it has to be there on the machines of the cluster, too."
            )

    def spread(self, model: Path, adapter: Path | None, dtype: str, workers: int, gpus: float) -> VllmGenerator:
        """As `trialign_ray.inference.base.ClusterEngine` says. The adapter stays beside the weights."""
        return VllmGenerator(self.settings(model, adapter, dtype, workers, gpus), adapter)

    def settings(self, model: Path, adapter: Path | None, dtype: str, workers: int, gpus: float) -> Row:
        """Fields of `ray.data.llm.vLLMEngineProcessorConfig`."""
        each = max(1, int(gpus))
        return {
            "model_source": str(model),
            "engine_kwargs": {
                "dtype": dtype,
                # Those of the distribution that is sampled from; vLLM's own are of the logits before temperature.
                "logprobs_mode": "processed_logprobs",
                # Else the model's folder may set top_k, top_p or a penalty for what a row leaves out.
                "generation_config": "vllm",
                "tensor_parallel_size": each,
                # By default Ray Data keeps the placement group of such an engine until the run ends, and the engines
                # of the next pass wait for it for ever: https://github.com/ray-project/ray/issues/64035
                **({"distributed_executor_backend": "mp"} if each > 1 else {}),
                "enforce_eager": self.eager,
                **({} if self.max_model_len is None else {"max_model_len": self.max_model_len}),
                **({} if self.cache_gib is None else {"kv_cache_memory_bytes": int(self.cache_gib * 2**30)}),
                **({} if adapter is None else {"enable_lora": True, "max_lora_rank": _rank(adapter)}),
            },
            "concurrency": (workers, workers),
            "batch_size": self.rows,
            # One actor with all GPUs of the engine, on one machine.
            "placement_group_config": {"bundles": [{"CPU": 1.0, "GPU": gpus}]},
            # Rows bring token ids and take token ids; the chat template and the tokenizer are ours.
            **dict.fromkeys(("chat_template_stage", "tokenize_stage", "detokenize_stage"), False),
            "log_engine_metrics": False,
        }


@dataclass(frozen=True, slots=True)
class VllmGenerator:
    """A `trialign_ray.inference.base.Generator` over engines that live for one call."""

    settings: Mapping[str, Any]
    """Fields of the processor's configuration."""
    adapter: Path | None

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        sampling: Sampling,
        stop_ids: Sequence[int],
        on_progress: Callable[[int], None] | None = None,
    ) -> list[list[Generated]]:
        """As the Protocol says. Raises ModelError where an engine gives no or other rows than were asked for."""
        asked = list(rows_of(prompts, seeds, sampling, stop_ids, None if self.adapter is None else str(self.adapter)))
        found: dict[int, Generated] = {}
        for row in self._answered(asked):
            found[row["row"]] = Generated(list(row["ids"]), list(row["logprobs"]), row["ids"][-1] in {*stop_ids})
            if on_progress is not None:
                on_progress(int(len(found) % sampling.samples == 0))
        if len(found) < len(asked):
            raise ModelError(f"vLLM answered {len(found)} of {len(asked)} rows. Start the same again.")
        k = sampling.samples
        return [[found[index * k + sample] for sample in range(k)] for index in range(len(prompts))]

    def shared_out(self, rows: int) -> Row:
        """The settings by which every engine gets a part of so many rows: else the first one that has started is sent
        16 batches, which can be all.
        """
        engines = min(self.settings["concurrency"][0], rows)
        share = ceil(rows / (engines * self.settings["batch_size"]))
        size = ceil(rows / (engines * share))
        return {
            **self.settings,
            "concurrency": (engines, engines),
            "batch_size": size,
            "max_concurrent_batches": min(_AT_ONCE, share),
            "max_tasks_in_flight_per_actor": min(_SENT, share),
        }

    def _answered(self, rows: Sequence[Row]) -> Iterator[Row]:
        """The rows with what was generated, in any order."""
        if not rows:
            return
        import ray
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        ray.data.DataContext.get_current().enable_progress_bars = False  # the run has one of its own
        # Of the tasks that hand rows over: with a share of a CPU they would wait for ever where engines have them all.
        handing = {"num_cpus": 0, "compute": ray.data.TaskPoolStrategy(size=1)}
        processor = build_processor(
            vLLMEngineProcessorConfig(**self.shared_out(len(rows))),
            postprocess=read,
            preprocess_map_kwargs=handing,
            postprocess_map_kwargs=handing,
        )
        try:
            yield from processor(ray.data.from_items([*rows])).iter_rows()
        except ray.exceptions.RayError as error:
            raise ModelError(
                f"vLLM: {str(error).strip().splitlines()[-1]} Why is in what the engine wrote: worker-*.out and "
                "worker-*.err in Ray's session_latest/logs on its machine, or the dashboard's page of the actor."
            ) from error


def rows_of(
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[Sequence[int]],
    sampling: Sampling,
    stop_ids: Sequence[int],
    adapter: str | None,
) -> Iterator[Row]:
    """A row of Ray Data's vLLM stage for each sample, numbered by 'row'.

    A sample is a row of its own and not one of `n`, so that each has a seed of its own. adapter: folder of the LoRA
    adapter that answers, which the stage reads from 'model'.
    """
    for index, (prompt, row) in enumerate(zip(prompts, seeds, strict=True)):
        for sample, seed in enumerate(row):
            yield {
                "row": index * sampling.samples + sample,
                "tokenized_prompt": [*prompt],
                "sampling_params": {
                    "temperature": sampling.temperature,
                    # The whole distribution: log-probs of a part of it would not be the policy's.
                    "top_p": 1.0,
                    "top_k": -1,
                    "max_tokens": sampling.max_new_tokens,
                    "seed": seed,
                    "logprobs": 0,
                    "stop_token_ids": [*stop_ids],
                    "ignore_eos": True,
                    "detokenize": False,
                },
                **({} if adapter is None else {"model": adapter}),
            }


def read(row: Row) -> Row:
    """Number, token ids and log-probs of a row that the stage has answered."""
    ids = [int(token) for token in row["generated_tokens"]]
    logprobs = [float(found[token]["logprob"]) for token, found in zip(ids, row["logprobs"], strict=True)]
    return {"row": row["row"], "ids": ids, "logprobs": logprobs}


def _rank(adapter: Path) -> int:
    """Rank for which engines reserve memory; raises ModelError for an adapter that vLLM does not take."""
    file = adapter / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        found = max([config["r"], *config.get("rank_pattern", {}).values()])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file}: is no configuration of a LoRA adapter: {error!r}. Give a PEFT LoRA adapter."
        ) from None
    if config.get("use_dora"):
        raise ModelError(f"{adapter}: is DoRA, which vLLM does not take. Merge it into the model.")
    fitting = [rank for rank in _RANKS if rank >= found]
    if not fitting:
        raise ModelError(f"{adapter}: rank {found}, and vLLM takes at most {_RANKS[-1]}. Merge it into the model.")
    return fitting[0]
