"""A prompt and its completion, perhaps labelled: KTO's label says whether the response is right (arXiv 2402.01306)."""

from __future__ import annotations

from typing import Any

from trialign_ray.data.fields import FieldFault
from trialign_ray.data.shapes.base import Brought, Row, Shape, has, is_chat, wrong


def joined(row: Row, name: str) -> list[FieldFault]:
    """Put `prompt` and the completion under `name` into the row's messages; texts are a user's and the response."""
    if row.keys() & {"messages", "response"}:
        return []
    prompt, completion = row.pop("prompt", []), row.pop(name)
    if isinstance(prompt, str) and isinstance(completion, str):
        prompt, completion = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": completion}]
    paired = name != "completion"
    if paired and _holds_prompt(prompt, completion):
        prompt = []
    faults = _faults(prompt, completion, name, whole=not prompt and paired)
    if not faults:
        row["messages"] = prompt + completion
    return faults


def judged(row: Row) -> list[FieldFault]:
    """Make the label of a row its truth."""
    if "label" not in row:
        return []
    label = row.pop("label")
    if type(label) not in (bool, int, float) or label not in (0, 1):
        reason = f"is {label!r:.40}; expected true (right) or false (wrong). Leave it out (--ignore label), or fix it."
        return wrong("label", "type", reason)
    if row.setdefault("reward_truth", float(label)) != label:
        return wrong("label", "conflict", f"is {label} but 'reward_truth' is {row['reward_truth']!r:.40}; keep one.")
    return []


def _bring(row: Row) -> list[Brought]:
    return [Brought(row, joined(row, "completion"))]


def _holds_prompt(prompt: Any, completion: Any) -> bool:
    """Whether a completion is the whole conversation, its prompt included."""
    if not is_chat(completion) or len(completion) < 2:
        return False
    return prompt in ([], completion[:-1], completion[-2].get("content"))


def _faults(prompt: Any, completion: Any, name: str, *, whole: bool) -> list[FieldFault]:
    wanted = "expected chat messages, [{'role': …, 'content': …}, …]"
    faults = [
        FieldFault(field, "type", f"is a {type(value).__name__}; {wanted}.")
        for field, value in (("prompt", prompt), (name, completion))
        if not is_chat(value)
    ]
    if faults:
        return faults
    said = completion[-1:] if whole else completion
    if [message.get("role") for message in said] == ["assistant"]:
        return []
    return wrong(name, "value", "is not exactly one message of role 'assistant'; a row is one response.")


KTO = Shape("completions whose label is the truth, as for KTO", has("prompt", "completion", "label"), _bring)
PLAIN = Shape("prompts and completions", has("prompt", "completion"), _bring)
