"""The canonical offline-log schema. A row is one response of one group to one question in one turn.

Evaluation answers are rows of the same schema, so an audit reads either.
"""

from __future__ import annotations

import re
from typing import get_args

import pyarrow as pa

from trialign_ray.config.game import Cue, Split

SCHEMA_VERSION = 1

MESSAGE = pa.struct([pa.field("role", pa.string(), False), pa.field("content", pa.string(), False)])
PEER = pa.struct([pa.field("group", pa.string(), False), pa.field("response", pa.string(), False)])


def _field(name: str, kind: pa.DataType, nullable: bool, meaning: str) -> pa.Field:
    return pa.field(name, kind, nullable, metadata={"meaning": meaning})


SCHEMA = pa.schema(
    [
        _field("question_id", pa.string(), False, "identifies the question; splits never cut through one"),
        _field("question", pa.string(), False, "the question as asked"),
        _field("group", pa.string(), False, "the social group that asked; 'neutral' is the control"),
        _field("protocol", pa.string(), False, "how the groups talked: a name of `trialign_ray.config.protocols`"),
        _field("turn", pa.int32(), False, "1 for the first; deployment is turn 1"),
        _field("sample", pa.int32(), False, "which of the K responses to this prompt"),
        _field("messages", pa.list_(MESSAGE), False, "the whole prompt as chat messages, persona included"),
        _field("prompt_ids", pa.list_(pa.int32()), False, "the prompt's token ids, generation prompt included"),
        _field("response", pa.string(), False, "the response as text"),
        _field("response_ids", pa.list_(pa.int32()), False, "the response's token ids, end-of-turn included"),
        _field("behaviour_logprobs", pa.list_(pa.float32()), True, "log-prob of each response token when sampled"),
        _field("answer", pa.string(), True, "canonical final answer; null where none was found"),
        _field("answer_kind", pa.string(), False, "entity | ambiguous | refusal | unextracted"),
        _field("references", pa.list_(pa.string()), False, "accepted answers; empty for subjective questions"),
        _field("reward_truth", pa.float32(), True, "1 right, 0 wrong, null where there is no truth"),
        _field("reward_preference", pa.float32(), True, "in [0, 1]; null where the group has no preference"),
        _field("preference", pa.string(), True, "the preference rule as JSON, so that it can be scored again"),
        _field("preference_cue", pa.string(), True, "explicit | implicit"),
        _field("kind", pa.string(), False, "objective | subjective"),
        _field("topic", pa.string(), False, "subject of the question, to report by"),
        _field("split", pa.string(), False, "train | heldout, by question"),
        _field("peers", pa.list_(PEER), False, "what the prompt showed of other groups' responses"),
        _field("seed", pa.int64(), False, "sampling seed"),
        _field("source", pa.string(), False, "where the question or the log came from"),
        _field("model_hash", pa.string(), False, "hash of the weights that answered; empty if not known"),
    ],
    metadata={"trialign.schema_version": str(SCHEMA_VERSION)},
)

ANSWER_KINDS = ("entity", "ambiguous", "refusal", "unextracted")
KINDS = ("objective", "subjective")
ROLES = ("system", "user", "assistant")
SPLITS: tuple[str, ...] = get_args(Split)
CUES: tuple[str, ...] = get_args(Cue)
GROUP_NAME = re.compile(r"[a-z0-9_]{1,40}")
"""A group's name is also a folder's and an actor's."""
