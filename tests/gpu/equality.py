"""Tree attention against plain forwards, and ZeRO on one rank against plain AdamW, on the device."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from tests.gpu.work import shares
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.attention import ATTENTION, AutoAttentionSpec
from trialign_ray.config.seams import build
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.trainer.guard.examine import run_attention
from trialign_ray.trainer.guard.families import SHAPES
from trialign_ray.trainer.guard.plain import guard_trees, plain_logprobs
from trialign_ray.trainer.guard.tiny import tiny_model
from trialign_ray.trainer.policy import Policy, adapt, unfreeze
from trialign_ray.trainer.response_logprobs import response_logprobs

if TYPE_CHECKING:
    from tests.gpu.run import Setting

UNPACKED = frozenset({"Qwen3.5", "Qwen3-Next", "Granite 4 H", "LFM2", "Llama with dynamic NTK"})
"""Shapes that no tree serves: they are scored one response a row, by their own attention."""
FEW = ("Llama 3.x", "gpt-oss")
FAMILY_SECONDS = 200
"""Each family compiles kernels of its own; those that are left when this is over are listed."""
STEPS = 3
OPTIMIZER = OptimizerSpec(learning_rate=1e-2, clip_norm=0.5)


def families(setting: Setting) -> dict[str, Any]:
    """Largest error of a response's log-prob in nats, and of the gradient of all weights as a share of its largest."""
    torch.backends.cuda.matmul.allow_tf32 = False
    names = FEW if setting.tiny else [name for name in SHAPES if name not in UNPACKED]
    until = time.perf_counter() + FAMILY_SECONDS
    found: dict[str, Any] = {}
    for name in names:
        found[name] = _family(name, setting.device) if time.perf_counter() < until else "left: out of time"
    return found


def _family(name: str, device: torch.device) -> dict[str, float]:
    from transformers import CONFIG_MAPPING

    kind, changes = SHAPES[name]
    model: Any = tiny_model(CONFIG_MAPPING[kind](**changes))
    model.to(device)
    trees = guard_trees()
    plain_s, plain_slopes = _sloped(model, plain_logprobs(model, trees))
    attention = build(ATTENTION, AutoAttentionSpec())
    run_attention(model, attention)
    found_s, slopes = _sloped(model, response_logprobs(model, attention, trees))
    largest = max(float(each.abs().max()) for each in plain_slopes)
    off = max(float((a - b).abs().max()) for a, b in zip(slopes, plain_slopes, strict=True))
    return {"nats": float((found_s - plain_s).abs().max()), "gradient": off / largest}


def _sloped(model: Any, logp_s: Tensor) -> tuple[Tensor, list[Tensor]]:
    weight_s = torch.cos(torch.arange(len(logp_s), device=logp_s.device))
    parameters = list(model.parameters())
    slopes = torch.autograd.grad((logp_s * weight_s).sum(), parameters, allow_unused=True)
    kept = [torch.zeros_like(p) if s is None else s for s, p in zip(slopes, parameters, strict=True)]
    return logp_s.detach(), kept


def zero(setting: Setting) -> dict[str, Any]:
    """Losses of ZeRO 2 and 3 on one rank beside those of plain AdamW, for an adapter and for all weights."""
    import deepspeed  # noqa: F401  where it is not installed the part is left out

    from trialign_ray.trainer.plain_engine import one_process

    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    found: dict[str, Any] = {}
    with one_process(setting.device):
        for what in ("lora", "full"):
            plain = _trained(setting, what, None)
            for stage in (2, 3):
                ours = _trained(setting, what, stage)
                off = max(abs(a - b) for a, b in zip(ours, plain, strict=True))
                found[f"{what}, stage {stage}"] = {"losses": ours, "largest_difference": off}
        found["backend"] = dist.get_backend()
    return found


def _trained(setting: Setting, what: str, stage: Literal[2, 3] | None) -> list[float]:
    """Losses of some steps; by plain AdamW where no stage is given."""
    from trialign_ray.algorithms.compose import compose
    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer.engine import TrainingEngine, initialize
    from trialign_ray.trainer.learner import Learner
    from trialign_ray.trainer.passes import Budget
    from trialign_ray.trainer.plain_engine import PlainEngine

    learner = LearnerSpec(workers=1, zero_stage=stage or 2, gpu=setting.device.type == "cuda", dtype="float32")
    policy = _policy(what, learner).to(setting.device)
    engine: TrainingEngine = (
        PlainEngine(policy, OPTIMIZER, STEPS, 1) if stage is None else initialize(policy, OPTIMIZER, learner, STEPS, 1)
    )
    stepper = Learner(engine, compose(TrialignSpec()), first_utilities(1), Budget.of_tokens(100))
    batches = [shares(seed, prompts=4, responses=4, prompt_tokens=12, response_tokens=9) for seed in range(STEPS)]
    return [float(stepper.step(batch).outputs.loss.detach()) for batch in batches]


def _policy(what: str, learner: LearnerSpec) -> Policy:
    """Of a small Llama, equal each time that it is made."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    model: Any = LlamaForCausalLM(LlamaConfig(vocab_size=256, num_hidden_layers=2, initializer_range=0.2, **sizes))
    return unfreeze(model, learner) if what == "full" else adapt(model, LoraSpec(rank=4), learner, seed=1)
