"""Instructions as Alpaca has them: 'instruction', perhaps an 'input' behind it, and 'output'."""

from __future__ import annotations

from typing import Any

from trialign_ray.data.fields import FieldFault
from trialign_ray.data.shapes.base import Brought, Row, Shape, has, wrong

_BESIDE = ("id", "text")
"""'text' is instruction and output once more, in the words of a template."""


def _bring(row: Row) -> list[Brought]:
    brought = Brought(row)
    system, history = row.pop("system", ""), row.pop("history", [])
    asked, more, said = row.pop("instruction"), row.pop("input", ""), row.pop("output")
    for name in _BESIDE:
        if row.pop(name, None) is not None:
            brought.left.add(name)
    brought.faults += _faults(asked, more, said, system, history)
    if not brought.faults and not row.keys() & {"messages", "response"}:
        before = [turn for question, answer in history for turn in _round(question, answer)]
        prompt = f"{asked}\n{more}" if more.strip() else asked
        row["messages"] = [{"role": "system", "content": system}] * bool(system) + before + _round(prompt, said)
    return [brought]


def _round(question: str, answer: str) -> list[Row]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _faults(asked: Any, more: Any, said: Any, system: Any, history: Any) -> list[FieldFault]:
    texts = {"instruction": asked, "input": more, "output": said, "system": system}
    for name, value in texts.items():
        if not isinstance(value, str):
            return wrong(name, "type", f"is a {type(value).__name__}; expected text.")
    rounds = isinstance(history, list) and all(isinstance(each, list | tuple) and len(each) == 2 for each in history)
    if not rounds or not all(isinstance(text, str) for each in history for text in each):
        return wrong("history", "type", "is no list of [instruction, answer]; expected two texts for each round.")
    return []


SHAPE = Shape("instructions of Alpaca", has("instruction", "output"), _bring)
