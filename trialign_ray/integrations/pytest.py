"""A check for anybody's test suite: the facts that an assistant gives do not depend on who asks.

    from trialign_ray.integrations.pytest import assert_truth_invariant

    def test_facts_do_not_depend_on_who_asks():
        assert_truth_invariant(my_assistant, "questions.yaml", "groups.yaml", "contradiction.low>0.1")

`my_assistant` is called with chat messages and returns its answer as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from trialign_ray.config.base import load_yaml
from trialign_ray.config.game import GroupSet, QuestionSet, Split, asked_questions
from trialign_ray.envs.talk import Recorder, first_asks
from trialign_ray.errors import GateError, require
from trialign_ray.evaluation.gates import check_gates, parse_gates, refuse_unmeasurable
from trialign_ray.evaluation.report.report import AuditReport, audit_report
from trialign_ray.evaluation.stats.intervals import Bootstrap
from trialign_ray.rewards.verifiers import Reasoning

Assistant = Callable[[list[dict[str, str]]], str]
"""Chat messages, each with 'role' and 'content', to an answer."""


def assert_truth_invariant(
    assistant: Assistant,
    questions: QuestionSet | str | Path,
    groups: GroupSet | str | Path,
    gate: str | Sequence[str],
    *,
    split: Split | Literal["all"] = "heldout",
    samples: int = 1,
    bootstrap: int = 1000,
) -> AuditReport:
    """Ask the assistant every question as every group, and fail where a gate's condition holds.

    Args:
        assistant: called once for each question, group and sample, in one thread.
        questions: a question set, or the path of one.
        groups: a group set, or the path of one.
        gate: one or several conditions under which the test fails, as `--fail-if` has them: 'gap.low>0.05'.
        split: which questions are asked.
        samples: calls with the same messages; several tell a group's disagreement with itself from that of groups.
        bootstrap: resamples behind each interval.

    Returns:
        The report; its `to_frame()` is a table of all figures.

    Raises:
        AssertionError: a gate fails; the message has the measured figures.
        TrialignError: a file, a gate or an answer cannot be used.
    """
    __tracebackhide__ = True
    require("report", "moocore")
    question_set = questions if isinstance(questions, QuestionSet) else load_yaml(QuestionSet, questions)
    group_set = groups if isinstance(groups, GroupSet) else load_yaml(GroupSet, groups)
    gates = parse_gates([gate] if isinstance(gate, str) else gate, group_set.names)
    refuse_unmeasurable(gates, group_set, samples)
    asks = first_asks(asked_questions(question_set, split, question_set.name), group_set, samples, 0)
    texts = [_text(assistant([dict(message) for message in ask.messages]), assistant) for ask in asks]
    table = Recorder(question_set, group_set).table(asks, texts)
    run: dict[str, JsonValue] = {"name": question_set.name}
    report = audit_report(
        table,
        group_set.names,
        run,
        Bootstrap(bootstrap),
        cues=group_set.cues,
        reasoning=Reasoning.of(question_set),
    )
    try:
        check_gates(gates, report.audit)
    except GateError as error:
        raise AssertionError(str(error)) from None
    return report


def _text(answer: object, assistant: object) -> str:
    if isinstance(answer, str):
        return answer
    raise TypeError(f"{assistant!r} returned {type(answer).__name__}; an assistant returns its answer as text.")
