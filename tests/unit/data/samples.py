"""Valid rows, and ways to break them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from trialign_ray.config.preferences import RULE, MaxWords, StartsWith
from trialign_ray.config.protocols import PROTOCOLS
from trialign_ray.data.schema import CUES, SCHEMA, SPLITS
from trialign_ray.rewards.verifiers import canonical

GROUPS = ("neutral", "nurse_kenya", "pupil_peru")


def row(**changes: Any) -> dict[str, Any]:
    """A valid objective row with what `changes` says."""
    return {
        "question_id": "capital-peru",
        "question": "What is the capital of Peru?",
        "group": "neutral",
        "protocol": "independent",
        "turn": 1,
        "sample": 0,
        "messages": [{"role": "system", "content": "Help."}, {"role": "user", "content": "Capital of Peru?"}],
        "prompt_ids": [1, 2, 3],
        "response": "Lima.",
        "response_ids": [7, 8],
        "behaviour_logprobs": [-0.5, -0.25],
        "answer": "lima",
        "answer_kind": "entity",
        "references": ["Lima"],
        "reward_truth": 1.0,
        "reward_preference": 0.5,
        "preference": '{"rule":"max_words","words":8}',
        "preference_cue": "explicit",
        "kind": "objective",
        "topic": "capitals",
        "split": "train",
        "peers": [{"group": "pupil_peru", "response": "Cusco"}],
        "seed": 3,
        "source": "atlas",
        "model_hash": "ab12",
        **changes,
    }


def grid(questions: int = 3, groups: tuple[str, ...] = GROUPS, samples: int = 2) -> list[dict[str, Any]]:
    """A row for every question, group and sample; the last question is held out."""
    return [
        row(question_id=f"q{q}", group=group, sample=k, split="heldout" if q == questions - 1 else "train")
        for q in range(questions)
        for group in groups
        for k in range(samples)
    ]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows in SCHEMA."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def by_group(rows: pa.Table) -> pa.Table:
    """The rows as a dataset orders them: the control first, then groups by appearance, rows in order."""
    names = rows["group"].to_pylist()
    rank = {name: at for at, name in enumerate(dict.fromkeys(["neutral", *names]))}
    return rows.take(sorted(range(len(names)), key=lambda at: rank[names[at]]))


def json_lines(rows: list[dict[str, Any]]) -> str:
    """The rows as JSONL."""
    return "".join(json.dumps(one) + "\n" for one in rows)


_texts = st.text(max_size=12)
_filled = st.text(min_size=1, max_size=12).filter(str.strip)
_ids = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5)
_share = st.floats(0, 1, width=32)
_log_prob = st.floats(max_value=0, allow_infinity=False, allow_nan=False, width=32)
_messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": _texts}), max_size=2
).map(lambda before: [*before, {"role": "user", "content": "?"}])
_rules = (
    st.one_of(st.integers(1, 50).map(lambda n: MaxWords(words=n)), _filled.map(lambda text: StartsWith(text=text)))
    .map(lambda rule: RULE.dump_json(rule).decode())
)  # fmt: skip


@st.composite
def valid_rows(draw: st.DrawFn) -> dict[str, Any]:
    """A valid row, objective or subjective, with and without each nullable field."""
    objective, answer, rule = draw(st.booleans()), draw(st.none() | _filled.map(canonical)), draw(st.none() | _rules)
    ids = draw(_ids)
    log_probs = st.lists(_log_prob, min_size=len(ids), max_size=len(ids))
    reward = draw(_share if rule is not None else st.none() | _share)
    return row(
        question_id=draw(st.sampled_from(["q0", "q1", "Frage ü"])),
        question=draw(_filled),
        group=draw(st.sampled_from(GROUPS)),
        protocol=draw(st.sampled_from(list(PROTOCOLS))),
        turn=draw(st.integers(1, 3)),
        sample=draw(st.integers(0, 3)),
        messages=draw(_messages),
        prompt_ids=draw(_ids),
        response=draw(_texts),
        response_ids=ids,
        behaviour_logprobs=draw(st.none() | log_probs),
        answer=answer,
        answer_kind="entity" if answer is not None else draw(st.sampled_from(["refusal", "unextracted"])),
        references=draw(st.lists(_texts, min_size=1, max_size=3)) if objective else [],
        reward_truth=draw(st.sampled_from([0.0, 1.0])) if objective else None,
        reward_preference=reward,
        preference=rule,
        preference_cue=draw(st.none() | st.sampled_from(CUES)) if reward is not None else None,
        kind="objective" if objective else "subjective",
        topic=draw(_filled),
        peers=draw(st.lists(st.fixed_dictionaries({"group": _texts, "response": _texts}), max_size=2)),
        seed=draw(st.integers(-(2**63), 2**63 - 1)),
        source=draw(_texts),
        model_hash=draw(_texts),
    )


@st.composite
def valid_logs(draw: st.DrawFn, min_rows: int = 1) -> list[dict[str, Any]]:
    """Valid rows that are also valid together: a question has one split, one prompt and rule for its first turn, and
    an answer to it one label."""
    key = ("question_id", "group", "protocol", "turn", "sample")
    rows = draw(
        st.lists(valid_rows(), min_size=min_rows, max_size=6, unique_by=lambda one: tuple(one[name] for name in key))
    )
    split = {question: draw(st.sampled_from(SPLITS)) for question in ("q0", "q1", "Frage ü")}
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for one in rows:
        one["split"] = split[one["question_id"]]
        if one["turn"] == 1:
            asked = first.setdefault((one["question_id"], one["group"]), one)
            one.update({name: asked[name] for name in _ASKED_ALIKE})
    labels: dict[tuple[str, str], float] = {}
    for one in rows:
        if one["answer"] is not None and one["reward_truth"] is not None:
            key_of_label = (one["question_id"], one["answer"])
            one["reward_truth"] = labels.setdefault(key_of_label, one["reward_truth"])
    return rows


_ASKED_ALIKE = (
    "messages",
    "prompt_ids",
    "kind",
    "references",
    "reward_truth",
    "preference",
    "reward_preference",
    "preference_cue",
)


ABSENT = object()
"""Stands for a field that is not there."""

_USER = {"role": "user", "content": "?"}
BAD_VALUES: dict[str, list[Any]] = {
    "question_id": [ABSENT, "", "  ", 7, ["q"], "\ud800"],
    "question": [ABSENT, "", 1.5],
    "group": [ABSENT, "", "Nurse", "a/b", "..", "x" * 41, "neutral\n", 3],
    "protocol": ["chat", "", 1],
    "turn": [0, -1, 1.5, True, "1", 2**31],
    "sample": [-1, 0.5, False, 2**31],
    "messages": [
        ABSENT,
        [],
        "Capital of Peru?",
        [{"role": "assistant", "content": "Lima."}],
        [{"role": "tool", "content": "x"}, _USER],
        [{"role": "user"}],
        [{**_USER, "name": "Ann"}],
        [_USER, {"role": "user", "content": 3}],
        [None],
    ],
    "prompt_ids": [ABSENT, [], [-1], [1.5], [2**31], [True], [None], "1 2"],
    "response": [ABSENT, 4, ["Lima"], "\udfff"],
    "response_ids": [ABSENT, [], [-1], ["7", "8"], 7],
    "behaviour_logprobs": [
        [0.1, -0.1],
        [float("nan"), -1.0],
        [float("-inf"), -1.0],
        [-1e39, -1.0],
        [-(2**25), -1],
        [None, -1.0],
        -1.0,
        [],
        [-1.0] * 9,
    ],
    "answer": ["", " ", 5, ["Lima"]],
    "answer_kind": ["unknown", "", 1],
    "references": ["Lima", [1], [None], {"Lima": 1}],
    "reward_truth": [0.5, 1.5, -0.1, float("nan"), float("inf"), True, "1"],
    "reward_preference": [1.01, -1, float("nan"), False, "high"],
    "preference": ["short please", '{"rule":"be_nice"}', '{"rule":"max_words","words":0}', {"rule": "max_words"}],
    "preference_cue": ["hinted", "", 0],
    "kind": ["opinion", "", 1],
    "topic": ["", 3],
    "split": ["test", "", 0],
    "peers": ["none", [{"group": "a"}], [{"group": "a", "response": None}], [1]],
    "seed": [1.5, "1", True, 2**63],
    "source": [3, ["web"]],
    "model_hash": [12, ["ab"]],
}
"""Values that no valid row has, whatever its other fields are."""
