"""The policy: a frozen causal LM with LoRA adapters, from packed trees to the log-prob of each response.

One adapter serves all groups, or each group has its own; then a forward is one pass a group, and still one backward.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self, cast

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from trialign_ray.config.base import Strict
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.models.base import AdaptedLM, CausalLM
from trialign_ray.trainer.attention.base import AttentionBackend
from trialign_ray.trainer.guard.examine import run_attention
from trialign_ray.trainer.guard.verdict import exact_attention
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.response_logprobs import NO_TREE, response_logprobs


class Policy(nn.Module):
    """`forward(trees)` gives float32 log-probs of all responses, in the order of the trees, [responses]."""

    def __init__(self, model: AdaptedLM, attention: AttentionBackend, groups: Sequence[str] = ()) -> None:
        """groups: those that have an adapter each, by the names of `_adapter_of`; none: one adapter for all."""
        super().__init__()
        self.model = model
        self._attention = attention
        self._groups = tuple(groups)
        self.eval()
        self._train_all()  # ZeRO sees to the gradients of what is trainable when it is set up

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stays in evaluation mode: a log-prob is that of the policy that is deployed, the same each time."""
        return super().train(False)

    @property
    def apart(self) -> bool:
        """Whether each response is a row of its own, behind its own copy of the prompt."""
        return self._attention.implementation is None

    def forward(self, trees: Sequence[Tree]) -> Tensor:
        """Log p(response | prompt) under the adapted model; with all adapters off inside `reference()`."""
        if not self._groups:
            return response_logprobs(self.model.get_base_model(), self._attention, trees)
        ends = [0, *itertools.accumulate(len(tree.responses) for tree in trees)]
        numbers: list[int] = []
        parts: list[Tensor] = []
        for g in range(len(self._groups)):
            mine = [i for i, tree in enumerate(trees) if tree.group == g]
            numbers += [number for i in mine for number in range(ends[i], ends[i + 1])]
            parts.append(self._of_group(g, [trees[i] for i in mine]))
        return torch.cat(parts)[torch.tensor(numbers, dtype=torch.long).argsort()]

    def _of_group(self, g: int, trees: Sequence[Tree]) -> Tensor:
        """Log-probs under group `g`'s adapter. All ranks pass through all adapters, also one that has no tree of `g`:
        ZeRO averages a gradient of everyone, zero here, and its third stage gathers weights at every pass.
        """
        self.model.set_adapter(_adapter_of(g))
        self._train_all()
        logp_s = response_logprobs(self.model.get_base_model(), self._attention, trees or [NO_TREE])
        return logp_s[: sum(len(tree.responses) for tree in trees)]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """All adapters off: the model as it was loaded."""
        try:
            with self.model.disable_adapter():
                yield
        finally:
            self._train_all()

    def trainable(self) -> list[nn.Parameter]:
        """The parameters of all adapters."""
        return [parameter for name, parameter in self.model.named_parameters() if "lora_" in name]

    def save(self, folder: Path) -> None:
        """Write the adapter into `folder`, or each group's into `folder/<group>`, as PEFT loads them."""
        if not self._groups:
            self.model.save_pretrained(str(folder), safe_serialization=True)
        for g, group in enumerate(self._groups):
            self.model.save_pretrained(str(folder), safe_serialization=True, selected_adapters=[_adapter_of(g)])
            (folder / _adapter_of(g)).rename(folder / group)

    def _train_all(self) -> None:
        """PEFT freezes the adapters that it switches off; a frozen one would get no gradient of an earlier pass."""
        for parameter in self.trainable():
            parameter.requires_grad_(True)


def _adapter_of(g: int) -> str:
    """PEFT's name of group `g`'s adapter. Of one width: PEFT finds an adapter's weights by a part of their names."""
    return f"own{g:04d}"


def frozen_for_trees(model: CausalLM, spec: Strict, lora: LoraSpec | None = None) -> AttentionBackend:
    """Freeze `model` and make it score trees, exactly, by the attention that `spec` names.

    lora: of the adapter that will be put on it. Raises ModelError where the guard finds that its log-probs would not be
    exact, and SpecError where `spec` cannot be imported.
    """
    attention = exact_attention(model.config, spec, lora)
    run_attention(model, attention)
    model.requires_grad_(False)
    return attention


def adapt(model: CausalLM, lora: LoraSpec, learner: LearnerSpec, seed: int, groups: Sequence[str] = ()) -> Policy:
    """Freeze `model`, put a fresh adapter on it (the same on every rank) and make it score trees.

    groups: those that get an adapter each, all with the same first weights; none: one adapter for all.

    Raises ModelError where the model's log-probs would not be exact or the targets do not exist, and SpecError where
    `learner.attention` cannot be imported.
    """
    attention = frozen_for_trees(model, learner.attention, lora)
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    first, *others = [_adapter_of(g) for g in range(len(groups))] or ["default"]
    torch.manual_seed(seed)
    try:
        # The master weights are float32 in the optimizer; a float32 adapter in a bfloat16 model only costs time.
        made = get_peft_model(cast("PreTrainedModel", model), config, first, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ModelError(f"field 'lora.targets': {error}") from None
    for other in others:
        torch.manual_seed(seed)
        made.add_adapter(other, config, autocast_adapter_dtype=False)
    adapted = cast("AdaptedLM", made)
    if learner.activation_checkpointing:
        _checkpoint_layers(adapted)
    if any("lora" in name for name, _ in adapted.get_output_embeddings().named_parameters()):
        raise ModelError("field 'lora.targets': the output embedding cannot be adapted; it is frozen in the log-probs.")
    return Policy(adapted, attention, groups)


def _checkpoint_layers(model: AdaptedLM) -> None:
    """Recompute each layer in the backward. transformers' own switch works in training mode only, which a policy is
    never in: there dropout and router noise are on, many of them as functions that no module of that kind shows.
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
