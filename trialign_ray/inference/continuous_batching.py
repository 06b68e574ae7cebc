"""transformers' continuous batching: a paged cache, and a response that ends makes room for the next one at once.

All requests of a call are queued before its loop starts, so what is decoded together follows from the call alone, and
the same call on the same machine gives the same responses. One stream of random numbers serves all of them: what a
response draws depends on those beside it.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.cache import group_layers_by_attn_type

from trialign_ray.errors import ModelError
from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.models.base import CausalLM
from trialign_ray.models.loading import load_adapted
from trialign_ray.models.rope import refuse_moving_frequencies

if TYPE_CHECKING:
    from torch import nn

_USE_ANOTHER = "Use the generator 'transformers' for this model."
_PREFILL = 1024
"""Prompt tokens of a forward; longer prompts take several."""
_SPARE = 1.3
"""Of the cache: the scheduler holds new requests back while less than a fifth is free."""
_APART = {torch.float32: 1e-2, torch.bfloat16: 0.25}
"""Nats a token between a response's log-probs here and in a plain forward; rounding stays far below."""


@dataclass(frozen=True, slots=True)
class ContinuousBatchingEngine:
    """Loads a model into this process."""

    rows: int
    """Responses decoded together."""

    def load(self, model: Path, adapter: Path | None, dtype: str, device: str) -> ContinuousBatchingGenerator:
        """As `trialign_ray.inference.base.Engine` says; raises ModelError for layers without a paged cache, too."""
        loaded = load_adapted(model, adapter, dtype)
        try:
            group_layers_by_attn_type(loaded.config.get_text_config(decoder=True))
        except ValueError as error:
            raise ModelError(
                f"{model}: continuous batching has no cache for its layers: {error}. {_USE_ANOTHER}"
            ) from None
        cast("nn.Module", loaded).to(device)
        return ContinuousBatchingGenerator(loaded, self.rows)


@dataclass(frozen=True, slots=True)
class ContinuousBatchingGenerator:
    """A `trialign_ray.inference.base.Generator` over a causal LM of this process, but for the seeds: see the module."""

    model: CausalLM
    rows: int = 192
    """Responses decoded together."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        sampling: Sampling,
        stop_ids: Sequence[int],
        on_progress: Callable[[int], None] | None = None,
    ) -> list[list[Generated]]:
        """As the Protocol says, with draws by the seeds of the whole call.

        Raises ModelError where the log-probs are not those of the model's plain forward.
        """
        if not prompts:
            return []
        refuse_moving_frequencies(self.model.config, [len(each) for each in prompts], sampling.max_new_tokens)
        # Greedy samples of a prompt are equal, and the library decodes one alone.
        k, copies = (sampling.samples, 1) if sampling.temperature > 0 else (1, sampling.samples)
        sampling = replace(sampling, samples=k)
        with torch.random.fork_rng(), torch.inference_mode(), _own_garbage():
            outputs = self._run(prompts, _one_seed(seeds), sampling, stop_ids, on_progress or _silent)
        rows = [_generated(outputs[name], {*stop_ids}) for name in _names(len(prompts), k)]
        _compare(self.model, prompts, rows, sampling)
        return [rows[start : start + k] * copies for start in range(0, len(rows), k)]

    def _run(
        self,
        prompts: Sequence[Sequence[int]],
        seed: int,
        sampling: Sampling,
        stop_ids: Sequence[int],
        on_progress: Callable[[int], None],
    ) -> dict[str, Any]:
        """The library's output of each request, by name."""
        model = cast("Any", self.model)
        manager = model.init_continuous_batching(
            generation_config=_decoding(sampling, stop_ids),
            continuous_batching_config=self._cache(prompts, seed, sampling),
        )
        outputs: dict[str, Any] = {}
        for index, prompt in enumerate(prompts):
            manager.add_request([*prompt], request_id=str(index))
        manager.start()
        try:
            while len(outputs) < len(prompts) * sampling.samples:
                output = manager.get_result(timeout=1)
                if output is None and not manager.is_running():
                    raise ModelError(f"continuous batching stopped: {_reason(manager)}. {_USE_ANOTHER}")
                if output is not None and output.error is not None:
                    raise ModelError(f"continuous batching failed: {output.error}. {_USE_ANOTHER}")
                if output is not None:
                    outputs[output.request_id] = output
                    on_progress(int(len(outputs) % sampling.samples == 0))
        finally:
            manager.stop(hard_stop=len(outputs) < len(prompts) * sampling.samples)
            manager.destroy()
        return outputs

    def _cache(self, prompts: Sequence[Sequence[int]], seed: int, sampling: Sampling) -> ContinuousBatchingConfig:
        """A cache for the longest `rows` responses of the call, so that none waits for memory."""
        config = ContinuousBatchingConfig(
            max_requests_per_batch=self.rows,
            max_batch_tokens=max(self.rows, _PREFILL),
            return_logprobs=True,
            seed=seed,
            # Buffers of two steps would be decoded out of step with what has ended.
            use_async_batching=False,
        )
        lengths = sorted((len(prompt) + sampling.max_new_tokens for prompt in prompts), reverse=True)
        pages = [ceil(length / config.page_size) for length in lengths for _ in range(sampling.samples)]
        config.num_blocks = ceil(_SPARE * sum(pages[: self.rows])) + 1
        return config


def _decoding(sampling: Sampling, stop_ids: Sequence[int]) -> GenerationConfig:
    drawn = sampling.temperature > 0
    return GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=[*stop_ids] or -1,
        num_return_sequences=sampling.samples,
        do_sample=drawn,
        temperature=sampling.temperature if drawn else None,
    )


@contextmanager
def _own_garbage() -> Iterator[None]:
    """What is collected inside is of the block: the library collects twice at its end, through all that is loaded."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _silent(done: int, /) -> None:
    """Nobody watches."""


def _one_seed(seeds: Sequence[Sequence[int]]) -> int:
    return int.from_bytes(hashlib.sha256(repr([[*row] for row in seeds]).encode()).digest()[:4])


def _names(prompts: int, samples: int) -> list[str]:
    """Of the requests and their copies, in the order of prompts and samples."""
    copies = [f"__child#{sample}" for sample in range(samples - 1)]
    return [f"{index}{copy}" for index in range(prompts) for copy in ("", *copies)]


def _generated(output: Any, stops: set[int]) -> Generated:
    ids = list(output.generated_tokens)
    return Generated(ids, list(output.logprobs), bool(ids) and ids[-1] in stops)


def _reason(manager: Any) -> object:
    return manager.background_thread_status.fatal_error or "its thread has ended"


def _compare(model: CausalLM, prompts: Sequence[Sequence[int]], rows: Sequence[Generated], sampling: Sampling) -> None:
    """Score the longest response of the call again by a plain forward; raises ModelError where it differs.

    Features of attention that the paged path leaves out change log-probs without any error.
    """
    chosen = max(range(len(rows)), key=lambda row: len(prompts[row // sampling.samples]) + len(rows[row].ids))
    prompt, response = prompts[chosen // sampling.samples], rows[chosen]
    with torch.inference_mode():
        ids = torch.tensor([[*prompt, *response.ids]], device=model.device)
        kept = len(response.ids) + 1
        logits_tv = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits[0, :-1].float()
    logp_tv = (logits_tv / (sampling.temperature or 1.0)).log_softmax(-1)
    logp_t = logp_tv.gather(1, torch.tensor(response.ids, device=model.device)[:, None])[:, 0].cpu()
    apart = float((logp_t - torch.tensor(response.logprobs)).abs().mean())
    if not apart <= _APART[model.dtype]:
        raise ModelError(
            f"continuous batching gives log-probs {apart:.3f} nats a token away from the model's plain forward: its "
            f"attention is not that of this model. {_USE_ANOTHER}"
        )
