"""Training speed of a random-weight Qwen3-0.6B shape under DPO, ours and TRL's on the same responses."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.gpu.work import pairs, shares
from trialign_ray.config.algorithm import DpoSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.data.batch import GroupBatch

if TYPE_CHECKING:
    from tests.gpu.run import Setting
    from trialign_ray.trainer.learner import Learner

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16, by a part of the device's name."""
WARMUP, TIMED = 2, 4
PROMPT, RESPONSES = 200, 8
LORA = LoraSpec(rank=16)


def lengths(setting: Setting) -> dict[int, int]:
    """Tokens of a response -> prompts of a step, at about as many tokens a step."""
    return {8: 2, 16: 1} if setting.tiny else {64: 32, 512: 8, 4096: 1}


def model_of(setting: Setting) -> Any:
    """Qwen3-0.6B with random weights; a small one for tests."""
    from transformers import AutoModelForCausalLM, Qwen3Config

    sizes: dict[str, Any] = {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
    }
    sizes |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936}
    if setting.tiny:
        sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        sizes |= {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": 256}
    torch.manual_seed(0)
    make: Any = AutoModelForCausalLM
    with torch.device(setting.device):
        return make.from_config(Qwen3Config(tie_word_embeddings=True, **sizes), dtype=setting.dtype)


def batches(setting: Setting, length: int) -> list[list[GroupBatch]]:
    """One a step."""
    prompt = 20 if setting.tiny else PROMPT
    return [shares(seed, lengths(setting)[length], RESPONSES, prompt, length) for seed in range(WARMUP + TIMED)]


def ours(setting: Setting) -> dict[str, Any]:
    """Tokens a second, share of the device's peak and highest memory, by the length of a response."""
    return {str(length): _ours(setting, length) for length in lengths(setting)}


def _ours(setting: Setting, length: int) -> dict[str, Any]:
    from trialign_ray.algorithms.compose import compose
    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer.learner import Learner
    from trialign_ray.trainer.memory import pass_budget
    from trialign_ray.trainer.plain_engine import PlainEngine, one_process
    from trialign_ray.trainer.policy import adapt

    cuda = setting.device.type == "cuda"
    learner = LearnerSpec(workers=1, gpu=cuda, dtype="bfloat16" if cuda else "float32")
    policy = adapt(model_of(setting), LORA, learner, seed=0).to(setting.device)
    engine = PlainEngine(policy, OptimizerSpec(), WARMUP + TIMED, 1)
    results, seconds = [], 0.0
    with one_process(setting.device):
        budget = pass_budget(policy.model.config, LORA, learner, setting.device)
        stepper = Learner(engine, compose(DpoSpec(name="dpo")), first_utilities(1), budget)
        known = [_with_reference(stepper, batch) for batch in batches(setting, length)]
        for step, batch in enumerate(known):
            if step == WARMUP:
                _reset(setting)
            started = _now(setting)
            results.append(stepper.step(batch))
            seconds += _now(setting) - started if step >= WARMUP else 0.0
    timed = results[WARMUP:]
    weights = sum(each.numel() for name, each in policy.model.named_parameters() if "lora_" not in name)
    scored = sum(each.scored_tokens for each in timed)
    return {
        "response_tokens_per_second": sum(each.response_tokens for each in timed) / seconds,
        "packed_tokens_per_second": scored / seconds,
        "mfu": _mfu(weights, scored, seconds),
        "passes": timed[-1].passes,
        "peak_gib": _peak(setting),
    }


def _with_reference(stepper: Learner, batch: list[GroupBatch]) -> list[GroupBatch]:
    """As from the second epoch on; TRL computes them before it starts, too."""
    found = stepper.reference(batch)
    assert found is not None
    values_n = found[0][:, 0][found[1][:, 0]].numpy().astype(np.float32)
    return [replace(batch[0], reference_logp_n=values_n)]


def _mfu(weights: int, tokens: int, seconds: float) -> float | None:
    """Of a forward and a backward to the activations: 4 FLOP a weight and packed token: frozen weights have none.

    Attention is not counted, nor forwards of a step's further passes. None on a device whose peak is not known.
    """
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)
    return None if peak is None else 4 * weights * tokens / seconds / peak


def trl(setting: Setting) -> dict[str, Any]:
    """TRL's DPOTrainer on the same responses as pairs: reference log-probs computed beforehand and not timed."""
    import trl  # type: ignore[import-not-found,unused-ignore]  # noqa: F401  where it is not installed

    return {str(length): _trl(setting, length) for length in lengths(setting)}


def _trl(setting: Setting, length: int) -> dict[str, Any]:
    from datasets import Dataset  # type: ignore[import-not-found,unused-ignore]
    from peft import LoraConfig

    from tests.benchmarks.trl_speed import Stamps, TokenDpo
    from tests.tiny import tiny_tokenizer

    stamps, model = Stamps(), model_of(setting)
    attention = "flash_attention_2" if setting.device.type == "cuda" and find_spec("flash_attn") else "sdpa"
    model.set_attn_implementation(attention)
    steps = [pairs(batch[0]) for batch in batches(setting, length)]
    with tempfile.TemporaryDirectory() as folder:
        trainer = TokenDpo(
            model=model,
            args=_dpo(setting, folder, len(steps), len(steps[0]), 4 if length < 1000 else 1),
            train_dataset=Dataset.from_list([pair for step in steps for pair in step]),
            processing_class=tiny_tokenizer(),
            peft_config=LoraConfig(r=LORA.rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[stamps],
        )
        _reset(setting)
        trainer.train()
    tokens = TIMED * sum(len(pair["chosen_ids"]) + len(pair["rejected_ids"]) for pair in steps[0])
    seconds = stamps.ends[-1] - stamps.ends[WARMUP]
    return {"response_tokens_per_second": tokens / seconds, "attention": attention, "peak_gib": _peak(setting)}


def _dpo(setting: Setting, folder: str, steps: int, pairs_a_step: int, micro_batch: int) -> Any:
    """TRL's own settings, but for gradient checkpointing, which is off."""
    from trl import DPOConfig  # type: ignore[import-not-found,unused-ignore]

    cuda = setting.device.type == "cuda"
    return DPOConfig(
        output_dir=folder,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=pairs_a_step // micro_batch,
        max_steps=steps,
        precompute_ref_log_probs=True,
        gradient_checkpointing=False,
        train_sampling_strategy="sequential",
        bf16=cuda,
        use_cpu=not cuda,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


def _reset(setting: Setting) -> None:
    if setting.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _now(setting: Setting) -> float:
    if setting.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak(setting: Setting) -> float | None:
    """GiB; None where the device does not count."""
    return torch.cuda.max_memory_allocated() / 2**30 if setting.device.type == "cuda" else None
