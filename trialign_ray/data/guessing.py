"""Labels for logs that have none: the answer that most responses to a question name, over all groups.

What a team without labels does first (Lee 2013; MACA, arXiv 2509.15172). It makes groups agree on what they say most
often, right or wrong: docs/studies.md has what it brings beside true labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from trialign_ray.data.dataset import open_dataset, read_logs, write_logs
from trialign_ray.data.regimes import commonest, replaced, with_truths
from trialign_ray.errors import DataError
from trialign_ray.io.storage import LocationLike

GUESSED = "label guessed"
"""At the end of 'source' of every row whose label is a guess."""


@dataclass(frozen=True, slots=True)
class Guesses:
    """What was guessed."""

    unlabelled: int
    """Training questions without a truth."""
    truths: Mapping[str, str]
    """Question -> the answer that is its truth from here on."""
    shares: Mapping[str, float]
    """Question -> share of its responses, those that name nothing among them, that name this answer."""


def guess_labels(logs: LocationLike, target: LocationLike, *, least: float = 0.0, overwrite: bool = False) -> Guesses:
    """Write `logs` to `target` with labels for the training questions that have none.

    A question gets none where no response names an answer, or less than the share `least` of them names the commonest.
    Held-out questions stay as they are: nothing is evaluated against a guess. Raises DataError where there is nothing
    to guess, and as `write_logs` does.
    """
    dataset = open_dataset(logs)
    table = read_logs(dataset)
    found = guesses(table, least)
    if not found.unlabelled:
        raise DataError(f"{logs}: every training question has a truth. Train on it as it is.")
    if not found.truths:
        raise DataError(
            f"{logs}: no response to a training question without a truth names an answer, or too few name the same. "
            "Lower --least, or give the questions a vocabulary or options."
        )
    write_logs(_marked(with_truths(table, found.truths), found), target, dataset.manifest.names, overwrite=overwrite)
    return found


def guesses(table: pa.Table, least: float) -> Guesses:
    """What `guess_labels` guesses from the rows of `table`; of equally common answers the first by name."""
    open_rows = table.filter(pc.and_(pc.equal(table["split"], "train"), pc.equal(table["kind"], "subjective")))
    best = commonest(open_rows)
    asked = Counter(open_rows["question_id"].to_pylist())
    said = open_rows.filter(pc.equal(open_rows["answer_kind"], "entity"))
    named = Counter(zip(said["question_id"].to_pylist(), said["answer"].to_pylist(), strict=True))
    shares = {question: named[question, answer] / asked[question] for question, answer in best.items()}
    kept = {question: answer for question, answer in best.items() if shares[question] >= least}
    return Guesses(len(asked), kept, {question: shares[question] for question in kept})


def _marked(table: pa.Table, found: Guesses) -> pa.Table:
    """The table with GUESSED in the source of rows of guessed questions."""
    guessed = pc.is_in(table["question_id"], pa.array(list(found.truths), pa.string()))
    told = pc.utf8_ltrim(pc.binary_join_element_wise(table["source"], GUESSED, "; "), "; ")
    source = pc.if_else(guessed, told, table["source"])
    return replaced(table, {"source": source})
