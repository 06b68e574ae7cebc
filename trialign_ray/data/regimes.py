"""Logs as they might have been: fewer labels, wrong or guessed ones, fewer rows, groups and topics left out.

Questions are drawn by hash of the seed and their id, so that every arm of a comparison trains on the same ones.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.config.compare import FewerRows, LogChanges
from trialign_ray.errors import DataError


def changed_logs(table: pa.Table, changes: LogChanges) -> pa.Table:
    """The training rows of `table` (log schema) under `changes`; rows of other splits are left out.

    Raises DataError where a group or topic to be left out is not there, or no row is left.
    """
    for field, column in (("without_groups", "group"), ("without_topics", "topic")):
        out = getattr(changes, field)
        if missing := sorted(set(out) - set(pc.unique(table[column]).to_pylist())):
            raise DataError(f"logs: '{field}' names '{missing[0]}', which no row has. Correct the name.")
        table = table.filter(pc.invert(pc.is_in(table[column], pa.array(out, pa.string()))))
    table = table.filter(pc.equal(table["split"], "train"))
    questions = pc.unique(table["question_id"]).to_pylist()
    labelled = drawn(questions, changes.labels_kept, changes.seed, "labels")
    table = without_labels(table, set(questions) - set(labelled))
    table = with_wrong_labels(table, changes.labels_wrong, changes.seed)
    if changes.labels_swapped:
        table = with_swapped_labels(table, changes.seed)
    if changes.pseudo_labels:
        table = with_pseudo_labels(table, set(questions) - set(labelled))
    if changes.fewer is not None:
        table = with_fewer(table, changes.fewer, changes.seed)
    if table.num_rows == 0:
        raise DataError("logs: no training row is left under these changes. Leave out less.")
    return table


def drawn(questions: Iterable[str], share: float, seed: int, purpose: str) -> list[str]:
    """A share of the questions, those of the lowest hashes: a larger share holds all that a smaller one does."""
    ordered = sorted(set(questions), key=lambda each: hashlib.sha256(f"{seed}\0{purpose}\0{each}".encode()).digest())
    return ordered[: round(share * len(ordered))]


def without_labels(table: pa.Table, questions: Collection[str]) -> pa.Table:
    """Rows of `questions` become those of questions without a truth; answers stay, so groups can still be compared."""
    chosen = pc.is_in(table["question_id"], pa.array(list(questions), pa.string()))
    truth = pc.if_else(chosen, pa.scalar(None, pa.float32()), table["reward_truth"])
    kind = pc.if_else(chosen, "subjective", table["kind"])
    references = [
        [] if out else kept for out, kept in zip(chosen.to_pylist(), table["references"].to_pylist(), strict=True)
    ]
    return replaced(table, {"reward_truth": truth, "kind": kind, "references": references})


def with_wrong_labels(table: pa.Table, share: float, seed: int) -> pa.Table:
    """The truth of a share of the labelled questions is replaced by the wrong answer that was logged most often.

    A question to which nobody logged a wrong answer keeps its truth; another takes its place. Raises DataError where
    there are too few others.
    """
    wrong = commonest(table.filter(pc.equal(table["reward_truth"], 0)))
    labelled = set(table.filter(pc.equal(table["kind"], "objective"))["question_id"].to_pylist())
    wanted = round(share * len(labelled))
    if wanted > len(wrong):
        most = math.floor(100 * len(wrong) / len(labelled)) / 100
        raise DataError(
            f"logs: 'labels_wrong' is {share:g}, {wanted} of {len(labelled)} labelled questions, but wrong answers "
            f"were logged to {len(wrong)} of them. Ask for at most {most:g}."
        )
    chosen = drawn(wrong, 1.0, seed, "wrong")[:wanted]
    return with_truths(table, {question: wrong[question] for question in chosen})


def with_swapped_labels(table: pa.Table, seed: int) -> pa.Table:
    """Every labelled question gets the truth of another one of its topic: names of the right kind and nothing else.

    Along the topic's questions in the order of their hashes each takes the next truth that is not its own, so truths
    stay about as common as they were. A topic with one truth alone keeps it.
    """
    labelled = table.filter(pc.equal(table["kind"], "objective"))
    columns = (labelled[name].to_pylist() for name in ("topic", "question_id", "references"))
    truths: dict[str, dict[str, str]] = {}
    for topic, question, references in zip(*columns, strict=True):
        truths.setdefault(topic, {})[question] = references[0]
    given: dict[str, str] = {}
    for of in truths.values():
        order = drawn(of, 1.0, seed, "swapped")
        for index, question in enumerate(order):
            others = (of[each] for each in order[index + 1 :] + order[:index])
            given[question] = next((truth for truth in others if truth != of[question]), of[question])
    return with_truths(table, given)


def with_pseudo_labels(table: pa.Table, questions: Collection[str]) -> pa.Table:
    """The answer that most rows of each of `questions` name becomes its truth, over all groups that are in the table.

    What a team without labels does first (Lee 2013; MACA, arXiv 2509.15172). A question of which no row names an answer
    stays without a truth.
    """
    given = commonest(table.filter(pc.is_in(table["question_id"], pa.array(list(questions), pa.string()))))
    return with_truths(table, given)


def with_truths(table: pa.Table, given: Mapping[str, str]) -> pa.Table:
    """The table with another truth for some questions. given: question -> the answer that is right from here on."""
    columns = (table[name].to_pylist() for name in ("question_id", "answer", "reward_truth", "references", "kind"))
    rows = list(zip(*columns, strict=True))
    truth = [float(answer == given[q]) if q in given else right for q, answer, right, *_ in rows]
    references = [[given[q]] if q in given else kept for q, _, _, kept, _ in rows]
    kinds = ["objective" if q in given else kind for q, *_, kind in rows]
    return replaced(table, {"reward_truth": truth, "references": references, "kind": kinds})


def commonest(table: pa.Table) -> dict[str, str]:
    """Question -> the answer that most rows name; of equally common ones the first by name."""
    said = table.filter(pc.equal(table["answer_kind"], "entity"))
    counts = Counter(zip(said["question_id"].to_pylist(), said["answer"].to_pylist(), strict=True))
    ordered = sorted(counts.items(), key=lambda item: (item[1], [-ord(char) for char in item[0][1]]))
    return {question: answer for (question, answer), _ in ordered}


def with_fewer(table: pa.Table, fewer: FewerRows, seed: int) -> pa.Table:
    """Groups of `fewer` keep 1 in `ratio` of their questions, or of the responses to each question and turn."""
    few = pc.is_in(table["group"], pa.array(fewer.groups, pa.string()))
    if fewer.of == "questions":
        kept = drawn(table["question_id"].to_pylist(), 1 / fewer.ratio, seed, "fewer")
        stays = pc.is_in(table["question_id"], pa.array(kept, pa.string()))
    else:
        stays = _first_responses(table, fewer.ratio)
    return table.filter(pc.or_(pc.invert(few), stays))


def _first_responses(table: pa.Table, ratio: float) -> pa.Array:
    """True at 1 in `ratio` of the responses of each group to each question and turn, one at least.

    The first samples are as good as any: they were drawn independently.
    """
    columns = (table[name].to_pylist() for name in ("question_id", "group", "turn", "sample"))
    rows = list(zip(*columns, strict=True))
    samples: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for *asked, sample in rows:
        samples[tuple(asked)].append(sample)
    kept = {asked: set(sorted(said)[: math.ceil(len(said) / ratio)]) for asked, said in samples.items()}
    return pa.array([sample in kept[tuple(asked)] for *asked, sample in rows])


def replaced(table: pa.Table, columns: dict[str, object]) -> pa.Table:
    """The table with other values in `columns`, in the types that they have."""
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(name)
        column = values if isinstance(values, pa.ChunkedArray | pa.Array) else pa.array(values, field.type)
        table = table.set_column(at, field, column.cast(field.type))
    return table
