"""Small log datasets for rollout buffers: responses are token ids that end with END, or do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.data.samples import row, table
from trialign_ray.actors.replay_buffer import BufferSpec, RolloutBuffer
from trialign_ray.config.algorithm import UtilitySpec
from trialign_ray.config.train import CandidateSpec
from trialign_ray.data.dataset import write_logs

GROUPS = ("neutral", "farmer", "nurse")
END = 9
BRIEF = '{"rule":"max_words","words":2}'
Row = dict[str, Any]


def said(group: str, response: str, ids: list[int], sample: int = 0, **changes: Any) -> Row:
    """A response to 'q0' that is right where it names Lima; only persona groups have a preference."""
    right = float("Lima" in response)
    preference = None if group == "neutral" else BRIEF
    fields: Row = {
        "question_id": "q0",
        "group": group,
        "sample": sample,
        "prompt_ids": [1, 2, 3, GROUPS.index(group)],
        "response": response,
        "response_ids": ids,
        "behaviour_logprobs": [-1.0] * len(ids),
        "answer": "Lima" if right else "Cusco",
        "reward_truth": right,
        "preference": preference,
        "preference_cue": None if preference is None else "explicit",
        "reward_preference": None if preference is None else 0.5,
        "peers": [],
    }
    return row(**fields | changes)


def wrong(question_id: str = "q0") -> list[Row]:
    """One wrong response of every group: the least that can be trained on."""
    return [said(group, "Cusco", [7, END], question_id=question_id) for group in GROUPS]


def buffer(folder: Path, rows: list[Row], group: str = "nurse", own: int = 6, borrowed: int = 3) -> RolloutBuffer:
    """The buffer of one group over a dataset of `rows` in `folder`."""
    write_logs(table(rows), folder / "logs", GROUPS, overwrite=True)
    return RolloutBuffer(spec(folder, group, own, borrowed))


def spec(folder: Path, group: str, own: int = 6, borrowed: int = 3) -> BufferSpec:
    candidates = CandidateSpec(own=own, borrowed=borrowed)
    return BufferSpec(
        str(folder / "logs"), group, candidates, UtilitySpec(w_truth=0.7), (END,), cache=str(folder / "cache")
    )
