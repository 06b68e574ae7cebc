"""The policy: a frozen causal LM with a LoRA adapter, from packed trees to the log-prob of each response."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from trialign_ray.config.train import LearnerSpec, LoraSpec
from trialign_ray.errors import ModelError
from trialign_ray.trainer.attention import TREE, additive_mask
from trialign_ray.trainer.logprobs import token_logprobs
from trialign_ray.trainer.packing import Tree, pack


class Policy(nn.Module):
    """`forward(trees)` gives float32 log-probs of all responses, in the order of the trees, [responses]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, trees: Sequence[Tree]) -> Tensor:
        """Log p(response | prompt) under the adapted model; with the adapter off inside `reference()`."""
        packed = pack(trees)
        base, device = self.model.get_base_model(), next(self.model.parameters()).device

        def tensor(array: Any) -> Tensor:
            return torch.from_numpy(array).to(device)

        hidden = base.get_decoder()(
            input_ids=tensor(packed.ids_rt),
            position_ids=tensor(packed.position_rt),
            attention_mask=additive_mask(tensor(packed.visible_rtt), base.dtype),
            use_cache=False,
        ).last_hidden_state
        hidden_nd = hidden.flatten(0, 1)[tensor(packed.node_n)]
        # ZeRO-3 gathers a weight that is read outside its own module, as here.
        head = base.get_output_embeddings().weight
        logp_p = token_logprobs(hidden_nd, head, tensor(packed.pair_node_p), tensor(packed.pair_token_p))
        logp_s = logp_p.new_zeros(packed.responses)
        return logp_s.index_add(0, tensor(packed.token_response_m), logp_p[tensor(packed.token_pair_m)])

    def reference(self) -> AbstractContextManager[Any]:
        """The adapter off: the model as it came."""
        off: AbstractContextManager[Any] = self.model.disable_adapter()
        return off

    def trainable(self) -> list[nn.Parameter]:
        """The adapter's parameters."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def adapt(model: Any, lora: LoraSpec, learner: LearnerSpec, seed: int) -> Policy:
    """Freeze `model`, put a fresh adapter on it (the same on every rank) and make it score trees.

    Raises ModelError where the model's attention cannot be replaced or the targets do not exist.
    """
    try:
        model.set_attn_implementation(TREE)
    except ValueError as error:
        raise ModelError(f"this model's attention cannot run under a tree mask: {error}") from None
    model.requires_grad_(False)
    _check_head(model)
    torch.manual_seed(seed)
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    try:
        # The master weights are float32 in the optimizer; a float32 adapter in a bfloat16 model only costs time.
        adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ModelError(f"field 'lora.targets': {error}") from None
    if learner.activation_checkpointing:
        adapted.enable_input_require_grads()
        adapted.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    adapted.train()  # gradient checkpointing asks for it
    _without_dropout(adapted)
    head: Any = adapted.get_output_embeddings()
    if any("lora" in name for name, _ in head.named_parameters()):
        raise ModelError("field 'lora.targets': the output embedding cannot be adapted; it is frozen in the log-probs.")
    return Policy(adapted)


def _without_dropout(model: nn.Module) -> None:
    """A log-prob is that of the policy that is deployed, the same each time it is asked for."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def _check_head(model: Any) -> None:
    """Raise ModelError where logits are more than hidden states times output embedding: scaled, capped or with bias."""
    prompt, token = torch.tensor([[1, 2]], device=model.device), 3
    seen = additive_mask(torch.ones(1, 2, 2, dtype=torch.bool, device=model.device).tril(), model.dtype)
    with torch.no_grad():
        at = torch.arange(2, device=model.device)[None]
        logits = model(input_ids=prompt, position_ids=at, attention_mask=seen, use_cache=False).logits[0, 1]
        expected = logits.float().log_softmax(-1)[token]
        found = Policy(_Unadapted(model))([Tree(prompt[0].tolist(), [[token]])])[0]
    if abs(float(expected - found)) > 0.05:
        raise ModelError(
            f"{type(model).__name__} scales, caps or shifts its logits after the output embedding, "
            "so packed log-probs would be wrong. Use a model of a plain architecture, such as Llama or Qwen."
        )


class _Unadapted(nn.Module):
    """A model without adapter, as `Policy` expects one."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def get_base_model(self) -> Any:
        """The model itself."""
        return self._model
