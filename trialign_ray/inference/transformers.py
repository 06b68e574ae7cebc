"""Sample responses from a causal LM, many prompts in one batch, with the log-prob of every sampled token.

Differs from `transformers.generate` in three ways that logs need: each response is drawn by a seed of its own; the K
samples of a prompt share one prefill; rows that have ended leave the batch.

The neighbours in a batch change how its matrix products are rounded, and nothing else. In float32 a response is the
same alone and among others, but for a draw or an argmax that falls within that rounding; in bfloat16 the rounding is
coarse enough to change sampled tokens, so there the same response takes the same batches on the same machine too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from trialign_ray.inference.base import Generated, Sampling
from trialign_ray.models.base import CausalLM
from trialign_ray.models.loading import load_adapted
from trialign_ray.models.rope import refuse_moving_frequencies


@dataclass(frozen=True, slots=True)
class TransformersEngine:
    """Loads a model into this process."""

    rows: int
    """Responses decoded together."""

    def load(self, model: Path, adapter: Path | None, dtype: str, device: str) -> TransformersGenerator:
        """As `trialign_ray.inference.base.Engine` says."""
        loaded = load_adapted(model, adapter, dtype)
        cast("nn.Module", loaded).to(device)
        return TransformersGenerator(loaded, self.rows)


@dataclass(frozen=True, slots=True)
class TransformersGenerator:
    """A `trialign_ray.inference.base.Generator` over a causal LM of this process."""

    model: CausalLM
    rows: int = 192
    """Responses decoded together."""

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        sampling: Sampling,
        stop_ids: Sequence[int],
        on_progress: Callable[[int], None] | None = None,
    ) -> list[list[Generated]]:
        """`sampling.samples` responses to each prompt, the prompts of similar length together."""
        if prompts:
            refuse_moving_frequencies(self.model.config, [len(each) for each in prompts], sampling.max_new_tokens)
        by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        width = max(1, self.rows // sampling.samples)
        out: list[list[Generated]] = [[] for _ in prompts]
        for start in range(0, len(by_length), width):
            part = by_length[start : start + width]
            batch = _Batch(self.model, [prompts[i] for i in part], [seeds[i] for i in part], sampling, stop_ids)
            for index, responses in zip(part, batch.run(), strict=True):
                out[index] = responses
            if on_progress is not None:
                on_progress(len(part))
        return out


class _Batch:
    """One batch from prefill to its last token."""

    def __init__(
        self,
        model: CausalLM,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        sampling: Sampling,
        stop_ids: Sequence[int],
    ) -> None:
        self._model, self._sampling, self._device = model, sampling, model.device
        self._stop = torch.tensor(list(stop_ids), device=self._device)
        self._prompts = prompts
        # One uniform number a token, drawn ahead from the row's own seed.
        draws = [np.random.default_rng(seed).random(sampling.max_new_tokens) for row in seeds for seed in row]
        self._uniform_rt = torch.from_numpy(np.stack(draws)).to(self._device, torch.float32)

    def run(self) -> list[list[Generated]]:
        rows = len(self._prompts) * self._sampling.samples
        ids_rt = torch.full((rows, self._sampling.max_new_tokens), -1, dtype=torch.long)
        logp_rt = torch.zeros(rows, self._sampling.max_new_tokens)
        cache, mask, logits = self._prefill()
        alive = torch.arange(rows, device=self._device)
        for step in range(self._sampling.max_new_tokens):
            token, logp = self._choose(logits, self._uniform_rt[alive, step])
            ids_rt[alive.cpu(), step], logp_rt[alive.cpu(), step] = token.cpu(), logp.cpu()
            going = ~torch.isin(token, self._stop)
            if not going.any() or step + 1 == self._sampling.max_new_tokens:
                break
            if not going.all():
                keep = going.nonzero()[:, 0]
                cache.reorder_cache(cast("torch.LongTensor", keep))
                alive, token, mask = alive[keep], token[keep], mask[keep]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            position = mask.sum(1, keepdim=True) - 1
            logits = self._forward(token[:, None], mask, position, cache)
        return self._collect(ids_rt, logp_rt)

    def _prefill(self) -> tuple[DynamicCache, Tensor, Tensor]:
        longest = max(map(len, self._prompts))
        ids = torch.zeros(len(self._prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(self._prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        ids, mask = ids.to(self._device), mask.to(self._device)
        cache = DynamicCache(config=self._model.config)
        logits = self._forward(ids, mask, (mask.cumsum(1) - 1).clamp(min=0), cache)
        repeat = self._sampling.samples
        # Every kind of layer can reorder its rows; only attention layers can repeat or select them.
        rows = torch.arange(len(ids), device=self._device).repeat_interleave(repeat)
        cache.reorder_cache(cast("torch.LongTensor", rows))
        return cache, mask.repeat_interleave(repeat, 0), logits.repeat_interleave(repeat, 0)

    def _forward(self, ids: Tensor, mask: Tensor, position: Tensor, cache: DynamicCache) -> Tensor:
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=self._last(ids),
        )
        return out.logits[:, -1].float()

    def _last(self, ids: Tensor) -> Tensor:
        """The last place as an index. A count would give the head a strided slice, and on a CPU PyTorch multiplies that
        in bfloat16 with a copy of frozen weights for each row: 11 GB for 192 rows of a vocabulary of 49,152.
        """
        return torch.tensor([ids.shape[1] - 1], device=self._device)

    def _choose(self, logits_rv: Tensor, uniform_r: Tensor) -> tuple[Tensor, Tensor]:
        temperature = self._sampling.temperature
        logp_rv = torch.log_softmax(logits_rv / temperature if temperature > 0 else logits_rv, dim=-1)
        if temperature > 0:
            cumulative = logp_rv.exp().cumsum(-1)
            token = torch.searchsorted(cumulative, uniform_r[:, None] * cumulative[:, -1:])[:, 0]
            token = token.clamp(max=logits_rv.shape[-1] - 1)
        else:
            token = logp_rv.argmax(-1)
        return token, logp_rv.gather(1, token[:, None])[:, 0]

    def _collect(self, ids_rt: Tensor, logp_rt: Tensor) -> list[list[Generated]]:
        stops = set(self._stop.tolist())
        rows = []
        for ids, logprobs in zip(ids_rt.tolist(), logp_rt.tolist(), strict=True):
            kept = [token for token in ids if token >= 0]
            rows.append(Generated(kept, logprobs[: len(kept)], bool(kept) and kept[-1] in stops))
        k = self._sampling.samples
        return [rows[start : start + k] for start in range(0, len(rows), k)]
