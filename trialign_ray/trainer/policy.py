"""The policy: a frozen causal LM with LoRA adapters, from packed trees to the log-prob of each response.

One adapter serves all groups, or each group has its own; then a forward is one pass a group, and still one backward.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from trialign_ray.config.attention import ATTENTION
from trialign_ray.config.base import Strict
from trialign_ray.config.seams import build
from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.models.base import AdaptedLM, CausalLM
from trialign_ray.trainer.attention.base import AttentionBackend
from trialign_ray.trainer.logprobs import token_logprobs
from trialign_ray.trainer.packing import Ints, Tree, pack

_NO_TREE = Tree([0], [[0]])
"""Scored and thrown away."""


class Policy(nn.Module):
    """`forward(trees)` gives float32 log-probs of all responses, in the order of the trees, [responses]."""

    def __init__(self, model: AdaptedLM, attention: AttentionBackend, groups: Sequence[str] = ()) -> None:
        """groups: those that have an adapter each, by the names of `_adapter_of`; none: one adapter for all."""
        super().__init__()
        self.model = model
        self._attention = attention
        self._groups = tuple(groups)
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
        logp_s = response_logprobs(self.model.get_base_model(), self._attention, trees or [_NO_TREE])
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


def response_logprobs(
    model: CausalLM, attention: AttentionBackend, trees: Sequence[Tree], temperature: float = 1.0
) -> Tensor:
    """Log p(response | prompt) of all responses, in the order of the trees, float32 [responses].

    `model` must run its attention by `attention.implementation`. temperature: that of the sampling whose log-probs
    these are; above 0.
    """
    packed, device = pack(trees), model.device

    def tensor(array: Ints) -> Tensor:
        return torch.from_numpy(array).to(device)

    hidden = model.get_decoder()(
        input_ids=tensor(packed.ids_rt),
        position_ids=tensor(packed.position_rt),
        attention_mask=attention.mask(torch.from_numpy(packed.visible_rtt).to(device), model.dtype),
        use_cache=False,
    ).last_hidden_state
    hidden_nd = hidden.flatten(0, 1)[tensor(packed.node_n)]
    if temperature != 1:
        hidden_nd = hidden_nd / temperature  # logits are linear in it: `_check_head`
    # ZeRO-3 gathers a weight that is read outside its own module, as here.
    head_vd = model.get_output_embeddings().weight
    logp_p = token_logprobs(hidden_nd, head_vd, tensor(packed.pair_node_p), tensor(packed.pair_token_p))
    logp_s = logp_p.new_zeros(packed.responses)
    return logp_s.index_add(0, tensor(packed.token_response_m), logp_p[tensor(packed.token_pair_m)])


def frozen_for_trees(model: CausalLM, spec: Strict) -> AttentionBackend:
    """Freeze `model` and make it score trees by the attention that `spec` names.

    Raises ModelError where its attention or its output embedding is not one that packed log-probs reproduce, and
    SpecError where `spec` cannot be imported.
    """
    attention: AttentionBackend = build(ATTENTION, spec)
    try:
        model.set_attn_implementation(attention.implementation)
    except ValueError as error:
        raise ModelError(f"this model's attention cannot run under a tree mask: {error}") from None
    model.requires_grad_(False)
    _check_head(model, attention)
    return attention


def adapt(model: CausalLM, lora: LoraSpec, learner: LearnerSpec, seed: int, groups: Sequence[str] = ()) -> Policy:
    """Freeze `model`, put a fresh adapter on it (the same on every rank) and make it score trees.

    groups: those that get an adapter each, all with the same first weights; none: one adapter for all.

    Raises ModelError where the model's attention cannot be replaced or the targets do not exist, and SpecError where
    `learner.attention` cannot be imported.
    """
    attention = frozen_for_trees(model, learner.attention)
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
        adapted.enable_input_require_grads()
        adapted.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    adapted.train()  # gradient checkpointing is off in evaluation mode
    _without_dropout(adapted)
    if any("lora" in name for name, _ in adapted.get_output_embeddings().named_parameters()):
        raise ModelError("field 'lora.targets': the output embedding cannot be adapted; it is frozen in the log-probs.")
    return Policy(adapted, attention, groups)


def _without_dropout(model: CausalLM) -> None:
    """A log-prob is that of the policy that is deployed, the same each time it is computed."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def _check_head(model: CausalLM, attention: AttentionBackend) -> None:
    """Raise ModelError where logits are more than hidden states times output embedding: scaled, capped or with bias."""
    prompt, token = torch.tensor([[1, 2]], device=model.device), 3
    visible = torch.ones(1, 2, 2, dtype=torch.bool, device=model.device).tril()
    with torch.no_grad():
        logits = model(
            input_ids=prompt,
            position_ids=torch.arange(2, device=model.device)[None],
            attention_mask=attention.mask(visible, model.dtype),
            use_cache=False,
        ).logits[0, 1]
        expected = logits.float().log_softmax(-1)[token]
        found = response_logprobs(model, attention, [Tree(prompt[0].tolist(), [[token]])])[0]
    if abs(float(expected - found)) > 0.05:
        raise ModelError(
            f"{type(model).__name__} scales, caps or shifts its logits after the output embedding, "
            "so packed log-probs would be wrong. Use a model of a plain architecture, such as Llama or Qwen."
        )
