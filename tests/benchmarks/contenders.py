"""The contenders: each takes the steps of a `Work` and says how long each took."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from tests.benchmarks.bare import BareEngine, policy_of
from tests.benchmarks.measure import Measure
from tests.benchmarks.padded import padded_step
from tests.benchmarks.settings import PROCESSES, Work
from tests.plain import plain_train
from trialign_ray.algorithms.compose import compose
from trialign_ray.data.batch import GroupBatch
from trialign_ray.entrypoints.train import train
from trialign_ray.io.metrics_file import read_metrics
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.collate import assemble
from trialign_ray.trainer.learner import Learner

TRL_PAIRS = 8
"""Pairs of a TRL micro-batch; with 4 of them to an optimizer step it is as large as the demo's."""
TRL_ACCUMULATION = 4

Contender = Callable[[Work], Measure]
Runner = Callable[[Contender, Work], Measure]


def alone(contender: Contender, work: Work) -> Measure:
    """Run a contender in a process of its own, so that none sees another's memory or threads."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(contender, work).result()


def ours(work: Work) -> Measure:
    """Ray Train with two workers under ZeRO-2, pulling from the group actors: a whole run, without its evaluation.

    A step lasts from one line of metrics.jsonl to the next, so that all is in it that happens between two steps.
    """
    folder = RunFolder.of(work.spec)
    lines = _Lines(Path(folder.part("metrics.jsonl").path))
    lines.start()
    try:
        train(work.spec)
    finally:
        lines.stop()
    rows = read_metrics(folder.part("metrics.jsonl"))
    shutil.rmtree(folder.root.path)
    timed = range(work.setting.warmup, work.setting.steps)
    tokens = tuple(rows[step]["response_tokens"] for step in timed)
    return Measure(
        steps=tuple(timed),
        seconds=tuple(lines.seen[step] - lines.seen[step - 1] for step in timed),
        tokens=tokens,
        losses=tuple(rows[step]["loss"] for step in timed),
        reported=sum(tokens) / sum(rows[step]["seconds"] for step in timed),
    )


class _Lines(threading.Thread):
    """Notes when each line of a growing file appears; those that appear between two looks share that time."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path, self._over = path, threading.Event()
        self.seen: list[float] = []
        self._looked = time.perf_counter()

    def run(self) -> None:
        while not self._over.wait(0.02):
            self._look()

    def stop(self) -> None:
        self._over.set()
        self.join()
        self._look()

    def _look(self) -> None:
        lines = self._path.read_bytes().count(b"\n") if self._path.exists() else 0
        now, new = time.perf_counter(), lines - len(self.seen)
        self.seen += [self._looked + (now - self._looked) * (nth + 1) / new for nth in range(new)]
        self._looked = now


def bare(work: Work) -> Measure:
    """The plain torch loop of the tests: one process with two threads."""
    torch.set_num_threads(work.setting.threads)
    ends: list[float] = []
    policy, spec = policy_of(work.spec), work.spec
    losses, _ = plain_train(policy, spec.algorithm, spec.optimizer, _stamped(work.steps, ends), len(work.steps))
    return _timed(work, [after - before for before, after in pairwise(ends)], losses, _peak_gib())


def _stamped(steps: Sequence[Sequence[GroupBatch]], ends: list[float]) -> Iterator[Sequence[GroupBatch]]:
    """Notes when each step is asked for: the loop asks for the next when it is done with one."""
    for shares in steps:
        ends.append(time.perf_counter())
        yield shares
    ends.append(time.perf_counter())


def bare_pair(work: Work) -> Measure:
    """The plain loop in two processes of one thread each, a step divided between them as the learner does, and gloo."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, args=(work, folder), nprocs=PROCESSES)  # type: ignore[no-untyped-call]
        ranks = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(PROCESSES)]
    return _timed(work, ranks[0]["seconds"], ranks[0]["losses"], sum(rank["peak_gib"] for rank in ranks))


def _rank(rank: int, work: Work, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    engine = BareEngine(policy_of(work.spec), work.spec.optimizer, len(work.steps))
    learner = Learner(engine, compose(work.spec.algorithm), first_utilities(len(work.steps[0])))
    results = [learner.step(shares) for shares in work.steps]
    said = {
        "seconds": [result.seconds for result in results],
        "losses": [float(result.outputs.loss.detach()) for result in results],
        "peak_gib": _peak_gib(),
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(said))
    dist.barrier()
    dist.destroy_process_group()


def padded(work: Work) -> Measure:
    """One process with two threads, every response with its own copy of the prompt; some of the steps."""
    torch.set_num_threads(work.setting.threads)
    policy = policy_of(work.spec)
    policy.model.get_base_model().set_attn_implementation("sdpa")
    engine = BareEngine(policy, work.spec.optimizer, len(work.steps))
    utility_g, results = first_utilities(len(work.steps[0])), []
    for shares in work.steps[work.setting.slow]:
        results.append(padded_step(engine, compose(work.spec.algorithm), shares, utility_g))
        utility_g = results[-1].utility_g
    timed = range(work.setting.warmup, work.setting.slow.stop)
    return Measure(
        steps=tuple(timed),
        seconds=tuple(result.seconds for result in results[1:]),
        tokens=tuple(result.tokens for result in results[1:]),
        losses=tuple(result.loss for result in results[1:]),
        peak_gib=_peak_gib(),
    )


def trl(method: str, python: Path, work: Work) -> Measure:
    """TRL's trainer `method` (dpo, kto) under its own `python`, on the best and worst response of each cell."""
    pairs = [pair for shares in work.steps[work.setting.slow] for pair in _pairs(shares)]
    lora = work.spec.lora
    order = {
        "method": method,
        "model": work.spec.model,
        "dtype": work.setting.dtype,
        "pairs": pairs,
        "batch": TRL_PAIRS,
        "accumulation": min(TRL_ACCUMULATION, len(pairs) // (2 * TRL_PAIRS)),
        "rank": lora.rank,
        "alpha": lora.alpha,
        "targets": lora.targets,
        "learning_rate": work.spec.optimizer.learning_rate,
        "seed": work.spec.seed,
        "threads": work.setting.threads,
    }
    said = _trl_process(python, order)
    timed = range(work.setting.warmup, work.setting.slow.stop)
    # Its optimizer steps cut the pairs by their number, so they are reported as one stretch over the steps.
    share = len(timed)
    return Measure(
        steps=tuple(timed),
        seconds=tuple(sum(said["seconds"][1:]) / share for _ in timed),
        tokens=tuple(round(sum(said["tokens"][1:]) / share) for _ in timed),
        peak_gib=said["peak_gib"],
    )


def _trl_process(python: Path, order: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "order.json"), Path(folder, "said.json")
        source.write_text(json.dumps(order))
        quiet = {
            "HF_HUB_OFFLINE": "1",
            "TQDM_DISABLE": "1",
            "HF_HOME": folder,
            "OMP_NUM_THREADS": str(order["threads"]),
        }
        command = [str(python), str(Path(__file__).with_name("trl_speed.py")), str(source), str(target)]
        done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"TRL {order['method']} failed:\n{done.stderr[-3000:]}")
        said: dict[str, Any] = json.loads(target.read_text())
    return said


def _pairs(shares: Sequence[GroupBatch]) -> list[dict[str, list[int]]]:
    """Best and worst response of each question and group of a step, pairs of like length side by side."""
    cells = [(share, q, share.candidates(q)) for share in shares for q in range(len(share.objective_q))]
    pairs = []
    for share, q, numbers in cells:
        ranked = sorted(numbers, key=lambda n: -float(share.utility_n[n]))
        if len(ranked) > 1:
            best, worst = share.response(ranked[0]).tolist(), share.response(ranked[-1]).tolist()
            pairs.append({"prompt_ids": share.prompt(q).tolist(), "chosen_ids": best, "rejected_ids": worst})
    return sorted(
        pairs, key=lambda pair: len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))
    )


def _timed(work: Work, seconds: Sequence[float], losses: Sequence[float], peak_gib: float) -> Measure:
    timed = range(work.setting.warmup, work.setting.steps)
    tokens = [assemble(work.steps[step]).response_tokens for step in timed]
    return Measure(
        steps=tuple(timed),
        seconds=tuple(seconds[step] for step in timed),
        tokens=tuple(tokens),
        losses=tuple(losses[step] for step in timed),
        peak_gib=peak_gib,
    )


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def contenders(python: Path) -> dict[str, tuple[str, Contender]]:
    """Name -> (what it is, how it is run), in the order of a round. `python`: the interpreter that has TRL."""
    return {
        "ours": ("Ray Train, 2 workers x 1 thread, ZeRO-2, group actors", ours),
        "bare": ("plain loop, 1 process x 2 threads", bare),
        "bare_pair": ("plain loop, 2 processes x 1 thread, gloo", bare_pair),
        "padded": ("plain loop without prefix sharing, 1 process x 2 threads", padded),
        "trl_dpo": ("TRL DPOTrainer, 1 process x 2 threads", partial(trl, "dpo", python)),
        "trl_kto": ("TRL KTOTrainer, 1 process x 2 threads", partial(trl, "kto", python)),
    }
