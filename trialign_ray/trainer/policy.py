"""The policy: a frozen causal LM with a LoRA adapter, from packed trees to the log-prob of each response."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
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


class Policy(nn.Module):
    """`forward(trees)` gives float32 log-probs of all responses, in the order of the trees, [responses]."""

    def __init__(self, model: AdaptedLM, attention: AttentionBackend) -> None:
        super().__init__()
        self.model = model
        self._attention = attention

    def forward(self, trees: Sequence[Tree]) -> Tensor:
        """Log p(response | prompt) under the adapted model; with the adapter off inside `reference()`."""
        return response_logprobs(self.model.get_base_model(), self._attention, trees)

    def reference(self) -> AbstractContextManager[None]:
        """The adapter off: the model as it was loaded."""
        return self.model.disable_adapter()

    def trainable(self) -> list[nn.Parameter]:
        """The adapter's parameters."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


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


def adapt(model: CausalLM, lora: LoraSpec, learner: LearnerSpec, seed: int) -> Policy:
    """Freeze `model`, put a fresh adapter on it (the same on every rank) and make it score trees.

    Raises ModelError where the model's attention cannot be replaced or the targets do not exist, and SpecError where
    `learner.attention` cannot be imported.
    """
    attention = frozen_for_trees(model, learner.attention)
    torch.manual_seed(seed)
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    try:
        # The master weights are float32 in the optimizer; a float32 adapter in a bfloat16 model only costs time.
        made = get_peft_model(cast("PreTrainedModel", model), config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ModelError(f"field 'lora.targets': {error}") from None
    adapted = cast("AdaptedLM", made)
    if learner.activation_checkpointing:
        adapted.enable_input_require_grads()
        adapted.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    adapted.train()  # gradient checkpointing is off in evaluation mode
    _without_dropout(adapted)
    if any("lora" in name for name, _ in adapted.get_output_embeddings().named_parameters()):
        raise ModelError("field 'lora.targets': the output embedding cannot be adapted; it is frozen in the log-probs.")
    return Policy(adapted, attention)


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
