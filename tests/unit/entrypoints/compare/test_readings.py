"""A cell reads a model as an audit does: the same options, the same free answers, the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from tests.tiny import tiny_tokenizer
from tests.unit.entrypoints.compare.samples import compare_spec
from tests.world import World
from trialign_ray.config.game import load_game
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.entrypoints.audit.local_model import answers_of_model
from trialign_ray.entrypoints.audit.scored_options import answers_of_options
from trialign_ray.entrypoints.compare import text
from trialign_ray.entrypoints.compare.cell import run_cell
from trialign_ray.entrypoints.compare.cells import reference_cell, trained_cell
from trialign_ray.entrypoints.compare.folder import CompareFolder
from trialign_ray.models.loading import load_model
from trialign_ray.progress import Silent
from trialign_ray.trainer.packing import Tree

SAID = ["question_id", "group", "response", "answer", "answer_kind", "reward_truth"]


def rows(table: pa.Table, reading: str | None = None) -> list[dict[str, Any]]:
    kept = table if reading is None else table.filter(pc.equal(table["reading"], reading))
    found: list[dict[str, Any]] = kept.select(SAID).to_pylist()
    return sorted(found, key=lambda row: (row["question_id"], row["group"]))


def test_the_base_says_what_audits_find(world: World, tmp_path: Path):
    spec = compare_spec(world, tmp_path)
    cell = reference_cell(spec, "base", "all")
    run_cell(spec, cell, Silent())
    found = CompareFolder.of(spec).answers(cell.key)
    asked = {"name": "audit", "model": world.model, "questions": world.questions, "groups": world.groups}
    audit = AuditSpec.model_validate(asked | {"runs": str(tmp_path), "dtype": "float32", "max_new_tokens": 4})
    game = load_game(world.questions, world.groups)
    options = answers_of_options(audit.model_copy(update={"read": "score"}), *game, Silent()).table
    assert rows(found, "closed") == rows(options)
    assert rows(found, "free") == rows(answers_of_model(audit, *game, Silent()).table)


def test_the_text_is_scored_token_by_token(world: World, tmp_path: Path):
    file = tmp_path / "text.txt"
    file.write_text("the capital of peru is lima . " * 3)
    spec = compare_spec(world, tmp_path)
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"text": str(file)})})
    cell = reference_cell(spec, "base", "all")
    run_cell(spec, cell, Silent())
    result = CompareFolder.of(spec).result(cell.key)
    assert result is not None
    assert result.text_tokens == 3 * 7 - 1
    assert result.text_logprob is not None
    assert result.text_logprob == pytest.approx(_alone(world, file.read_text()), abs=1e-4)


def test_of_a_long_text_responses_of_all_groups_are_scored():
    """Rows lie group by group."""
    trees = [Tree([number], [[0]]) for number in range(1001)]
    kept = [tree.prompt[0] for tree in text.evenly(trees)]
    assert len(kept) == len(set(kept)) == 400
    assert [sum(low <= each < low + 250 for each in kept) for low in (0, 250, 500, 750)] == [100, 100, 100, 100]
    assert text.evenly(trees[:3]) == trees[:3]


def _alone(world: World, text: str) -> float:
    """Mean log-prob of all tokens but the first, in one plain forward."""

    ids = torch.tensor([tiny_tokenizer().encode(text, add_special_tokens=False)])
    with torch.no_grad():
        logp_tv = load_model(world.model, "float32")(input_ids=ids).logits[0].log_softmax(-1)
    return float(logp_tv[:-1].gather(1, ids[0, 1:, None]).mean())


def test_each_group_is_answered_by_its_own_adapter_where_it_has_one(world: World, tmp_path: Path):
    regimes = {
        "own": {"predicted": "Nothing wins: random weights.", "train": {"policy": "per_group"}},
        "shared": {"predicted": "Nothing wins: random weights."},
    }
    spec = compare_spec(world, tmp_path, regimes=regimes, contrasts=[])
    own, shared = trained_cell(spec, "sft", "own", 0, {}), trained_cell(spec, "sft", "shared", 0, {})
    for cell in (own, shared):
        run_cell(spec, cell, Silent())
    folder = CompareFolder.of(spec)
    assert {"neutral", "farmer", "professor"} <= (folder.adapter(own.training_key).names() or frozenset())
    asked = [
        [(row["question_id"], row["group"]) for row in rows(folder.answers(cell.key), "closed")]
        for cell in (own, shared)
    ]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 6
    result = folder.result(own.key)
    assert result is not None
    assert result.calls == 1
