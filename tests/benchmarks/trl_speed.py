"""One TRL trainer on given token ids, timed step by step; run by the benchmark in TRL's own environment.

    python trl_speed.py ORDER.json SAID.json

Reference log-probs are computed before training starts and are not timed. TRL's settings are its own, but for
gradient checkpointing, which is off.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-not-found,unused-ignore]
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer  # type: ignore[import-not-found,unused-ignore]

Row = dict[str, Any]


class TokenDpo(DPOTrainer):  # type: ignore[misc,unused-ignore]
    """Takes token ids as they are: rendering them to text and back could change them."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class TokenKto(KTOTrainer):  # type: ignore[misc,unused-ignore]
    """The same for KTO."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class Stamps(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """When the first step begins and when each ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if not self.ends:
            self.ends.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def rows_of(order: Row) -> tuple[list[Row], int]:
    """The rows of the dataset, and how many make a micro-batch; both hold the same responses for DPO and KTO."""
    if order["method"] == "dpo":
        return order["pairs"], order["batch"]
    rows = []
    for start in range(0, len(order["pairs"]), order["batch"]):
        rows += unpaired(order["pairs"][start : start + order["batch"]])
    return rows, 2 * order["batch"]


def unpaired(pairs: list[Row]) -> list[Row]:
    """A micro-batch of KTO; its KL term scores each prompt with its neighbour's response, as TRL pairs them."""
    rows = [
        {"prompt_ids": pair["prompt_ids"], "completion_ids": pair[kind], "label": kind == "chosen_ids"}
        for kind in ("chosen_ids", "rejected_ids")
        for pair in pairs
    ]
    return [
        row | {"KL_completion_ids": before["completion_ids"]}
        for row, before in zip(rows, rows[-1:] + rows, strict=False)
    ]


def tokens_of(row: Row) -> int:
    """Response tokens trained on; those of KTO's KL term are not."""
    return sum(len(row[field]) for field in ("chosen_ids", "rejected_ids", "completion_ids") if field in row)


def trainer_of(order: Row, rows: list[Row], batch: int, folder: str, stamps: Stamps) -> Any:
    """The trainer, its reference log-probs computed."""
    config, trainer = (DPOConfig, TokenDpo) if order["method"] == "dpo" else (KTOConfig, TokenKto)
    bfloat16 = order["dtype"] == "bfloat16"
    arguments = config(
        output_dir=folder,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=order["accumulation"],
        max_steps=len(rows) // (batch * order["accumulation"]),
        learning_rate=order["learning_rate"],
        precompute_ref_log_probs=True,
        gradient_checkpointing=False,
        train_sampling_strategy="sequential",
        bf16=bfloat16,
        use_cpu=True,
        dataloader_pin_memory=False,
        seed=order["seed"],
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    model = AutoModelForCausalLM.from_pretrained(order["model"], dtype=torch.bfloat16 if bfloat16 else torch.float32)
    lora = LoraConfig(
        r=order["rank"], lora_alpha=order["alpha"], target_modules=order["targets"], task_type="CAUSAL_LM"
    )
    return trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(order["model"]),
        peft_config=lora,
        callbacks=[stamps],
    )


def run(order: Row) -> Row:
    """Train on the order's pairs; seconds and response tokens of every optimizer step."""
    torch.set_num_threads(order["threads"])
    rows, batch = rows_of(order)
    stamps = Stamps()
    with tempfile.TemporaryDirectory() as folder:
        trainer_of(order, rows, batch, folder, stamps).train()
    each = batch * order["accumulation"]
    steps = range(len(stamps.ends) - 1)
    return {
        "seconds": [after - before for before, after in zip(stamps.ends, stamps.ends[1:], strict=False)],
        "tokens": [sum(map(tokens_of, rows[step * each : (step + 1) * each])) for step in steps],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(run(json.loads(source.read_text()))))
