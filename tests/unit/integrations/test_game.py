"""What other harnesses ask, and the figures that they are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.world import CAPITALS, World
from trialign_ray.errors import DataError
from trialign_ray.evaluation.figures import MaybeFigure
from trialign_ray.integrations.game import HarnessGame


def value(figure: MaybeFigure) -> float:
    assert figure is not None
    return figure.value


def answer(game: HarnessGame, custom_id: str) -> str:
    """Right, but for the professor, who is told another city."""
    ask = game.asks[custom_id]
    return "cairo" if ask.group.name == "professor" else CAPITALS[ask.question.question_id.partition("-")[2]]


def test_every_question_is_asked_as_every_group_and_measured_as_an_audit_does(world: World) -> None:
    game = HarnessGame.load(world.questions, world.groups, "heldout")
    assert len(game.asks) == 2 * 3
    responses = {custom_id: answer(game, custom_id) for custom_id in game.asks}
    found = game.figures(responses)
    assert value(found["accuracy_mean"]) == pytest.approx(2 / 3)
    assert value(found["accuracy_by_group.professor"]) == 0
    assert game.missing(responses) == 0
    assert game.missing(dict(list(responses.items())[:4])) == 2


def test_reasoning_is_found_by_the_tags_of_the_question_set(world: World, tmp_path: Path) -> None:
    tags = {"reasoning_tags": {"<<": ">>"}, "reasoning_opened": "<<"}
    path = tmp_path / "tags.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(Path(world.questions).read_text()) | tags))
    game = HarnessGame.load(str(path), world.groups, "heldout")
    responses = {custom_id: f"maybe cairo >> {answer(game, custom_id)}" for custom_id in game.asks}
    assert value(game.figures(responses)["accuracy_mean"]) == pytest.approx(2 / 3)
    assert value(game.figures(dict.fromkeys(game.asks, "maybe lima"))["named"]) == 0


def test_a_split_without_questions_is_refused(world: World, tmp_path: Path) -> None:
    questions = yaml.safe_load(Path(world.questions).read_text())
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(questions | {"questions": questions["questions"][:4]}))
    with pytest.raises(DataError, match="has no question of split 'heldout'"):
        HarnessGame.load(str(tmp_path / "train.yaml"), world.groups, "heldout")
