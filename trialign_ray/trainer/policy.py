"""The policy: a causal LM under training, from packed trees to the log-prob of each response.

Trained are LoRA adapters on frozen weights, or all weights. One adapter serves all groups, or each group has its own;
then a forward is one pass a group, and still one backward.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor, nn

from trialign_ray.config.base import Strict
from trialign_ray.config.train import LearnerSpec, LoraSpec, Trained, TrainSpec
from trialign_ray.models.adapter import lora_config, with_adapter
from trialign_ray.models.base import AdaptedLM, CausalLM, Tokenizer
from trialign_ray.models.loading import load_model, load_tokenizer
from trialign_ray.trainer.attention.base import AttentionBackend
from trialign_ray.trainer.guard.examine import run_attention
from trialign_ray.trainer.guard.verdict import exact_attention
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.recompute import checkpoint_layers
from trialign_ray.trainer.response_logprobs import NO_TREE, response_logprobs


class Policy(nn.Module, ABC):
    """`forward(trees)` gives float32 log-probs of all responses, in the order of the trees, [responses]."""

    model: CausalLM
    folder: ClassVar[Literal["adapter", "model"]]
    """Part of the run's folder that keeps what was trained."""
    keeps_start: ClassVar[bool]
    """Whether the weights as they were loaded can be asked at any time, or before the first step only."""

    def __init__(self, attention: AttentionBackend) -> None:
        super().__init__()
        self._attention = attention

    @abstractmethod
    def forward(self, trees: Sequence[Tree]) -> Tensor:
        """Log p(response | prompt), [responses]."""

    @abstractmethod
    def reference(self) -> AbstractContextManager[None]:
        """Within it the model is as it was loaded."""

    @abstractmethod
    def named_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What is trained, by the names of `state_dict`."""

    @abstractmethod
    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write what was trained into `folder`, as it is loaded. weights: its values; None for those of the modules."""

    def trainable(self) -> list[nn.Parameter]:
        """All that is trained."""
        return [parameter for _, parameter in self.named_trainable()]

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stays in evaluation mode: a log-prob is that of the policy that is deployed, the same each time."""
        return super().train(False)

    @property
    def apart(self) -> bool:
        """Whether each response is a row of its own, behind its own copy of the prompt."""
        return self._attention.implementation is None


class FullPolicy(Policy):
    """All weights are trained, the output head's and the embedding's too. Of the weights as they were loaded no copy is
    kept: reference log-probs are computed before the first step, and the group actors keep them.
    """

    folder, keeps_start = "model", False

    def __init__(self, model: CausalLM, attention: AttentionBackend, tokenizer: Tokenizer | None = None) -> None:
        """tokenizer: what is written beside the model."""
        super().__init__(attention)
        self.model = model
        self._tokenizer = tokenizer
        self.eval()

    def forward(self, trees: Sequence[Tree]) -> Tensor:
        """Log p(response | prompt)."""
        return response_logprobs(self.model, self._attention, trees)

    def reference(self) -> AbstractContextManager[None]:
        """Before the first step the model is the one that was loaded."""
        return nullcontext()

    def named_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Every weight, a tied one once."""
        return ((name, each) for name, each in self.model.named_parameters() if each.requires_grad)

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a model's folder, with its tokenizer where there is one."""
        made = dict(self.model.state_dict())
        if weights is not None:  # under ZeRO 3 a module's own weights are a rank's part; buffers are whole
            parameters = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
            made = {name: each for name, each in made.items() if name not in parameters} | dict(weights)
        self.model.save_pretrained(str(folder), safe_serialization=True, state_dict=made)
        if self._tokenizer is not None:
            self._tokenizer.save_pretrained(str(folder))


class LoraPolicy(Policy):
    """Adapters are trained; everything else is frozen."""

    folder, keeps_start = "adapter", True
    model: AdaptedLM

    def __init__(self, model: AdaptedLM, attention: AttentionBackend, groups: Sequence[str] = ()) -> None:
        """groups: those that have an adapter each, by the names of `_adapter_of`; none: one adapter for all."""
        super().__init__(attention)
        self.model = model
        self._groups = tuple(groups)
        self.eval()
        self._train_all()  # ZeRO sees to the gradients of what is trainable when it is set up

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

    def named_trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters of all adapters."""
        return ((name, each) for name, each in self.model.named_parameters() if "lora_" in name)

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the adapter into `folder`, or each group's into `folder/<group>`, as PEFT loads them."""
        given: dict[str, Any] = {"safe_serialization": True, "state_dict": weights}
        if not self._groups:
            self.model.save_pretrained(str(folder), **given)
        for g, group in enumerate(self._groups):
            self.model.save_pretrained(str(folder), **given, selected_adapters=[_adapter_of(g)])
            (folder / _adapter_of(g)).rename(folder / group)

    def _train_all(self) -> None:
        """PEFT freezes the adapters that it switches off; a frozen one would get no gradient of an earlier pass."""
        for parameter in self.trainable():
            parameter.requires_grad_(True)


def _adapter_of(g: int) -> str:
    """PEFT's name of group `g`'s adapter. Of one width: PEFT finds an adapter's weights by a part of their names."""
    return f"own{g:04d}"


def frozen_for_trees(
    model: CausalLM, spec: Strict, trained: Trained | None = None, device: Literal["cpu", "cuda"] = "cpu"
) -> AttentionBackend:
    """Freeze `model` and make it score trees, exactly, by the attention that `spec` names.

    trained: what of it will be, on a device of this kind. Raises ModelError where the guard finds that its log-probs
    would not be exact, and SpecError where `spec` cannot be imported.
    """
    attention = exact_attention(model.config, spec, trained, device)
    run_attention(model, attention)
    model.requires_grad_(False)
    return attention


def make_policy(
    base: Path, spec: TrainSpec, groups: Sequence[str], loading: AbstractContextManager[None] | None = None
) -> Policy:
    """What `spec` trains of the model in the folder `base` with logs of these groups. Raises ModelError, SpecError.

    loading: around the reading of the weights, and nothing else.
    """
    with loading or nullcontext():
        model = load_model(base, spec.learner.dtype, "eager")
    if spec.adapter == "lora":
        return adapt(model, spec.lora, spec.learner, spec.seed, spec.own_adapters(groups))
    return unfreeze(model, spec.learner, load_tokenizer(base))


def unfreeze(model: CausalLM, learner: LearnerSpec, tokenizer: Tokenizer | None = None) -> FullPolicy:
    """Make `model` score trees, and all of its weights trained. Raises ModelError and SpecError, as `adapt` does."""
    attention = frozen_for_trees(model, learner.attention, "full", learner.device)
    model.requires_grad_(True)
    checkpoint_layers(model, learner)
    return FullPolicy(model, attention, tokenizer)


def adapt(model: CausalLM, lora: LoraSpec, learner: LearnerSpec, seed: int, groups: Sequence[str] = ()) -> LoraPolicy:
    """Freeze `model`, put a fresh adapter on it (the same on every rank) and make it score trees.

    groups: those that get an adapter each, all with the same first weights; none: one adapter for all.

    Raises ModelError where the model's log-probs would not be exact or the targets do not exist, and SpecError where
    `learner.attention` cannot be imported.
    """
    attention = frozen_for_trees(model, learner.attention, lora, learner.device)
    first, *others = [_adapter_of(g) for g in range(len(groups))] or ["default"]
    configs = {other: lora_config(lora, cast("nn.Module", model)) for other in others}
    torch.manual_seed(seed)
    adapted = with_adapter(model, lora, first)
    for other, config in configs.items():
        torch.manual_seed(seed)
        adapted.add_adapter(other, config, autocast_adapter_dtype=False)
    checkpoint_layers(adapted, learner)
    return LoraPolicy(adapted, attention, groups)
