"""What `trialign logs show` prints, as rich tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trialign_ray.data.inspection import GroupSummary, LogSummary, QuestionView, Spread


def summary_table(summary: LogSummary) -> RenderableType:
    """The summary for a terminal."""
    title = Text(f"{summary.uri}: {summary.rows} rows, {summary.questions} questions")
    table = Table(title=title, title_justify="left")
    table.add_column("group")
    for heading in _GROUP_HEADINGS:
        table.add_column(heading, justify="right")
    for group in summary.groups:
        table.add_row(*_group_cells(group))
    splits = ", ".join(f"{split.split} {split.questions} questions ({split.rows} rows)" for split in summary.splits)
    models = ", ".join(summary.model_hashes) or "not known"
    facts = f"splits: {splits}\nmodels: {models}\ncontent: {summary.content_sha256[:16]}"
    return Group(table, Text(f"{facts}, written by trialign-ray {summary.created_with}"))


_GROUP_HEADINGS = (
    *("rows", "questions", "K", "accuracy", "refusal", "ambiguous", "unextracted"),
    *("pref. explicit", "pref. implicit", "prompt tokens", "response tokens"),
)


def _group_cells(group: GroupSummary) -> Sequence[str]:
    answers = (group.accuracy, group.refusal, group.ambiguous, group.unextracted)
    shares = (*answers, group.preference_explicit, group.preference_implicit)
    return (
        group.group,
        str(group.rows),
        str(group.questions),
        _range(group.samples_per_prompt),
        *map(_share, shares),
        _range(group.prompt_tokens),
        _range(group.response_tokens),
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _range(spread: Spread) -> str:
    return str(spread.low) if spread.low == spread.high else f"{spread.mean:.1f} ({spread.low}–{spread.high})"


def question_table(view: QuestionView) -> RenderableType:
    """The question and its responses for a terminal."""
    table = Table()
    for heading in ("group", "protocol", "turn", "sample", "response", "answer", "truth", "preference"):
        table.add_column(heading)
    for row in view.responses:
        answer = row.answer if row.answer is not None else f"({row.answer_kind})"
        asked = (row.group, row.protocol, str(row.turn), str(row.sample))
        scores = (_share(row.reward_truth), _share(row.reward_preference))
        table.add_row(*asked, Text(row.response), Text(answer), *scores)
    references = ", ".join(view.references) or "none"
    facts = f"{view.question_id} ({view.kind}, {view.split}, {view.topic}): {view.question}\naccepted: {references}"
    return Group(Text(facts), table)
