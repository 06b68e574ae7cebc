"""Options are scored where the model's answer begins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.world import World
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.entrypoints.audit import audit
from trialign_ray.errors import ModelError

_OPENS = (
    "{% if add_generation_prompt %}<think>\n"
    "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture
def opening(world: World, tmp_path: Path) -> AuditSpec:
    """Of a model whose chat template opens a block of reasoning, unless it is told not to."""
    model = tmp_path / "model"
    shutil.copytree(world.model, model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template += _OPENS
    tokenizer.save_pretrained(model)
    asked = {"questions": world.questions, "groups": world.groups, "runs": str(tmp_path / "runs"), "bootstrap": 100}
    return AuditSpec.model_validate({"name": "a", "model": str(model), "read": "score"} | asked)


def test_options_are_not_scored_within_reasoning(opening: AuditSpec) -> None:
    (Path(str(opening.model)) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"field 'model': .*opens '<think>'.*--template enable_thinking=false.*--read"):
        audit(opening)


def test_options_are_scored_where_the_template_closes_its_reasoning(opening: AuditSpec) -> None:
    closed = opening.model_copy(update={"chat_template_kwargs": {"enable_thinking": False}})
    assert audit(closed).audit.questions == 2
