"""Rollout buffer against RLlib's EpisodeReplayBuffer: rows x groups of made logs.

    python -m tests.benchmarks.buffer_speed FOLDER ROWSxGROUPS...      # 1000000x4 10000000x4 1000000x256

Each size is written to FOLDER, indexed for one group from nothing, then served by a new process that draws every
question of that group once, in random order: cold. Time is that of the processor, since other work may share it.
"""

from __future__ import annotations

import datetime
import resource
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.actors.labels import LabelPolicy
from trialign_ray.actors.replay_buffer import BufferSpec, RolloutBuffer
from trialign_ray.actors.right_answers import RightAnswers
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.dataset import open_dataset
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.writer import LogWriter
from trialign_ray.io import console

RESULTS = Path(__file__).parent / "results"
SAMPLES = 6
PROMPT_TOKENS, RESPONSE_TOKENS = 48, 16
END = 2
RIGHT_SHARE = 0.3
ALL = CandidateSpec()
_WRITTEN_ROWS = 96_000
_RLLIB_EPISODES, _RLLIB_SECONDS = 2_000, 2.0
_MOST_QUESTIONS = 50_000
"""That are drawn for one timing."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a log: its groups have the same questions, SAMPLES rows each."""

    rows: int
    groups: int

    @property
    def names(self) -> tuple[str, ...]:
        """The groups, the control first."""
        return ("neutral", *(f"g{number}" for number in range(1, self.groups)))

    @property
    def questions(self) -> int:
        """Of each group."""
        return self.rows // (self.groups * SAMPLES)


@dataclass(frozen=True, slots=True)
class Indexed:
    """What making the files of one group from the logs took."""

    bank_seconds: float
    """Of the processor, for what all groups share."""
    group_seconds: float
    bank_rows_per_second: float
    """Of all groups."""
    group_rows_per_second: float
    """Of this one."""
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Served:
    """What a process that finds the files took for its batches."""

    first_batch_seconds: float
    """By the clock, from nothing open."""
    candidates_per_second: dict[int, float]
    """Questions in a batch -> rate, every question drawn for the first time in its pass."""
    resident_mib: float
    """After the last batch, shared pages of files among them."""
    own_mib: float
    """Of these what no other process could use."""


def write_made_logs(folder: Path, size: Size, seed: int = 0) -> None:
    """Logs in the order of questions, group by group; SAMPLES distinct responses to each, some of them right."""
    draw = np.random.default_rng(seed)
    with LogWriter(folder, overwrite=True) as writer:
        for group in size.names:
            for start in range(0, size.questions, _WRITTEN_ROWS // SAMPLES):
                writer.write(_made(group, start, min(start + _WRITTEN_ROWS // SAMPLES, size.questions), draw))
        writer.commit(size.names)


def _made(group: str, start: int, end: int, draw: np.random.Generator) -> pa.Table:
    count = (end - start) * SAMPLES
    number = pc.cast(pa.array(np.repeat(np.arange(start, end), SAMPLES)), pa.string())
    question = pc.binary_join_element_wise("question", number, "-")
    right = draw.random(count) < RIGHT_SHARE
    answer = pc.if_else(pa.array(right), "lima", "cusco")
    said = pc.cast(pa.array(draw.integers(0, 1 << 40, count)), pa.string())
    ids = draw.integers(3, 49_000, (count, RESPONSE_TOKENS), np.int32)
    ids[:, -1] = END
    prompt = np.repeat(draw.integers(3, 49_000, (end - start, PROMPT_TOKENS), np.int32), SAMPLES, axis=0)
    has_wish = group != "neutral"
    columns: dict[str, Any] = {
        "question_id": question,
        "question": question,
        "group": group,
        "protocol": "independent",
        "turn": 1,
        "sample": np.tile(np.arange(SAMPLES, dtype=np.int32), end - start),
        "messages": [{"role": "user", "content": "What is the capital?"}],
        "prompt_ids": _lists(prompt),
        "response": pc.binary_join_element_wise("I have thought about it and say", answer, said, " "),
        "response_ids": _lists(ids),
        "behaviour_logprobs": None,
        "answer": answer,
        "answer_kind": "entity",
        "references": ["Lima"],
        "reward_truth": right.astype(np.float32),
        "reward_preference": 1.0 if has_wish else None,
        "preference": '{"rule":"max_words","words":12}' if has_wish else None,
        "preference_cue": "explicit" if has_wish else None,
        "kind": "objective",
        "topic": "capitals",
        "split": "train",
        "peers": [],
        "seed": 0,
        "source": "made",
        "model_hash": "",
    }
    arrays = [_column(columns[field.name], field.type, count) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _lists(rows: np.ndarray[Any, Any]) -> pa.Array:
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))


def _column(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    if isinstance(value, pa.Array | np.ndarray):
        return pa.array(value).cast(kind)
    return pa.nulls(count, kind) if value is None else pa.array([value], kind).take(pa.array(np.zeros(count, np.int32)))


def _cache(folder: Path) -> Path:
    return folder / "files" / "made"


def buffer_of(folder: Path, group: str, candidates: CandidateSpec = ALL) -> RolloutBuffer:
    """Over the made logs in `folder`, with its files beside them."""
    cache = str(_cache(folder))
    return RolloutBuffer(BufferSpec(str(folder / "logs"), group, candidates, UtilitySpec(), (END,), cache=cache))


def index(folder: Path, size: Size) -> Indexed:
    """Make the bank, then the files of the last group."""
    began, logs = time.process_time(), open_dataset(folder / "logs")
    RightAnswers.of(logs, LabelPolicy.of("truth", logs), _cache(folder))
    middle = time.process_time()
    buffer_of(folder, size.names[-1]).batch([])
    bank, alone = middle - began, time.process_time() - middle
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Indexed(bank, alone, size.rows / bank, size.questions * SAMPLES / alone, peak)


def serve(folder: Path, size: Size, batches: tuple[int, ...] = (4, 32)) -> Served:
    """Draw the questions of the last group, a pass for each size of batch."""
    began, buffer = time.perf_counter(), buffer_of(folder, size.names[-1])
    buffer.batch(["question-0"])
    first, rates = time.perf_counter() - began, {}
    for each in batches:
        drawn = np.random.default_rng(each).permutation(size.questions)[:_MOST_QUESTIONS]
        names = [[f"question-{number}" for number in drawn[at : at + each]] for at in range(0, len(drawn), each)]
        before, began = buffer.served, time.process_time()
        for questions in names:
            buffer.batch(questions)
        rates[each] = (buffer.served - before) / (time.process_time() - began)
    memory = psutil.Process().memory_full_info()
    return Served(first, rates, memory.rss / 2**20, memory.uss / 2**20)


def rllib(items: int = 32) -> dict[str, float]:
    """Items a second that RLlib's buffer samples; an item holds what a candidate does, prompt and response.

    'episodes' gives them one by one, whatever their lengths; 'batch' stacks them and needs all of one length.
    """
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode
    from ray.rllib.utils.replay_buffers.episode_replay_buffer import EpisodeReplayBuffer

    draw = np.random.default_rng(0)
    buffer = EpisodeReplayBuffer(capacity=_RLLIB_EPISODES)
    for _ in range(_RLLIB_EPISODES):
        prompt, response = (draw.integers(3, 49_000, length) for length in (PROMPT_TOKENS, RESPONSE_TOKENS))
        episode = SingleAgentEpisode()
        episode.add_env_reset(observation=prompt)
        episode.add_env_step(observation=prompt, action=response, reward=1.0, terminated=True)
        buffer.add(episode)
    ways: dict[str, dict[str, Any]] = {
        "episodes": {"num_items": items, "n_step": 1, "sample_episodes": True},
        "batch": {"batch_size_B": items, "batch_length_T": 1},
    }
    found = {}
    for name, asked in ways.items():
        sampled, began = 0, time.process_time()
        while time.process_time() - began < _RLLIB_SECONDS:
            buffer.sample(**asked)
            sampled += items
        found[name] = sampled / (time.process_time() - began)
    return found


def measure(folder: Path, size: Size) -> dict[str, Any]:
    """One size, each part in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    parts: dict[str, Any] = {"rows": size.rows, "groups": size.groups, "questions_of_a_group": size.questions}
    _alone(write_made_logs, folder / "logs", size)
    parts["index"] = asdict(_alone(index, folder, size))
    parts["serve"] = asdict(_alone(serve, folder, size))
    shutil.rmtree(folder)
    return parts


def _alone(function: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Measure the sizes that are named, and write them with RLlib's rate before and after."""
    from tests.benchmarks.result import machine, write  # PyTorch, which would count as the buffer's memory
    from trialign_ray.entrypoints.versions import versions

    folder, sizes = Path(sys.argv[1]), [Size(*map(int, each.split("x"))) for each in sys.argv[2:]]
    theirs, found = [_alone(rllib)], []
    for size in sizes:
        found.append(measure(folder / f"{size.rows}x{size.groups}", size))
        console.show(str(found[-1]))
    theirs.append(_alone(rllib))
    date = datetime.date.today().isoformat()
    figures = {
        "benchmark": "buffer_speed",
        "command": " ".join(["python -m tests.benchmarks.buffer_speed FOLDER", *sys.argv[2:]]),
        "date": date,
        "unit": "candidates or items a processor second",
        "logs": {"prompt_tokens": PROMPT_TOKENS, "response_tokens": RESPONSE_TOKENS, "samples": SAMPLES},
        "rllib_items_per_second": theirs,
        "sizes": found,
        "machine": machine(),
        "versions": versions(),
    }
    write(figures, RESULTS / f"buffer_speed-{date}.json")


if __name__ == "__main__":
    main()
