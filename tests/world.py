"""A whole tiny project on disk: model, questions, groups and logs, as a user would have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from tests.tiny import save_tiny, tiny_tokenizer
from trialign_ray.config.tasks import CollectSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.entrypoints.collect import collect
from trialign_ray.io.metrics_file import Row, read_metrics
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.models.chat_tokens import ChatTokens

Losses = list[tuple[int, float]]
"""Step and loss."""
LONG = {"epochs": 30, "checkpoint_every": 10, "algorithm": {"kl": 0.05}}
"""Steps of 2 of the 4 questions; with a KL, so that the actors' reference caches are in the checkpoints."""
LONG_STEPS = 60
CAPITALS = {"france": "paris", "peru": "lima", "egypt": "cairo", "kenya": "nairobi"}


@dataclass(frozen=True)
class World:
    folder: Path

    @property
    def model(self) -> str:
        return str(self.folder / "model")

    @property
    def questions(self) -> str:
        return str(self.folder / "questions.yaml")

    @property
    def groups(self) -> str:
        return str(self.folder / "groups.yaml")

    @property
    def logs(self) -> str:
        return str(self.folder / "logs")

    @property
    def evaluation(self) -> dict[str, object]:
        """What is asked before and after a training run, as its specification has it."""
        return {"questions": self.questions, "groups": self.groups, "max_new_tokens": 8, "bootstrap": 100}

    def train_spec(self, name: str, **changes: object) -> TrainSpec:
        fields: dict[str, object] = {
            "name": name,
            "model": self.model,
            "logs": self.logs,
            "runs": str(self.folder / "runs"),
            "questions_per_step": 2,
            "epochs": 3,
            "checkpoint_every": 2,
            "lora": {"rank": 4},
            "optimizer": {"learning_rate": 0.02},
            "learner": {"cpus_per_worker": 0.5, "dtype": "float32"},
        }
        return TrainSpec.model_validate(fields | changes)


def steps(spec: TrainSpec) -> list[Row]:
    """What the run says of each of its steps so far, in their order."""
    return read_metrics(RunFolder.of(spec).part("metrics.jsonl"))


def losses(spec: TrainSpec) -> Losses:
    """Step and loss, in the order of the run's metrics."""
    return [(row["step"], row["loss"]) for row in steps(spec)]


def make_world(folder: Path) -> World:
    """Four training and two held-out questions, three groups, logs in which only the farmer's answers are right."""
    world = World(folder)
    save_tiny(folder / "model")
    questions = [_question(country, index, "train") for index, country in enumerate(CAPITALS)]
    questions += [_question(country, index + 4, "heldout") for index, country in enumerate(("peru", "kenya"))]
    (folder / "questions.yaml").write_text(
        yaml.safe_dump(
            {"name": "tiny", "vocabularies": {"cities": {c: [] for c in CAPITALS.values()}}, "questions": questions}
        )
    )
    (folder / "groups.yaml").write_text(yaml.safe_dump(_groups()))
    write_logs(_right_for_farmer(world), world.logs, ("neutral", "farmer", "professor"))
    return world


def _question(country: str, index: int, split: str) -> dict[str, object]:
    return {
        "question_id": f"{index}-{country}",
        "text": f"what is the capital of {country} ?",
        "references": [CAPITALS[country]],
        "verifier": "vocabulary",
        "vocabulary": "cities",
        "split": split,
        "topic": "capitals",
    }


def _groups() -> dict[str, object]:
    return {
        "system": "you are a helpful assistant .",
        "groups": [
            {"name": "neutral"},
            {"name": "farmer", "persona": "the user is a farmer ."},
            {"name": "professor", "persona": "the user is a professor ."},
        ],
        "preferences": [
            {"name": "brief", "rule": {"rule": "max_words", "words": 2}, "explicit": "short .", "implicit": "hey ."},
            {"name": "hey", "rule": {"rule": "starts_with", "text": "hey"}, "explicit": "hey .", "implicit": "user ."},
        ],
    }


def _right_for_farmer(world: World) -> pa.Table:
    """Collected logs whose responses are replaced: a random model never answers."""
    spec = CollectSpec(
        name="raw",
        model=world.model,
        questions=world.questions,
        groups=world.groups,
        output=str(world.folder / "raw"),
        samples=3,
        max_new_tokens=6,
    )
    collect(spec)
    tokens = ChatTokens(tiny_tokenizer())
    rng = np.random.default_rng(0)
    rows = [_replaced(row, tokens, rng) for row in read_logs(spec.output).to_pylist()]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _replaced(row: dict[str, object], tokens: ChatTokens, rng: np.random.Generator) -> dict[str, object]:
    right = row["references"][0]  # type: ignore[index]
    knows = row["group"] == "farmer" and row["sample"] == 0
    said = right if knows else str(rng.choice([city for city in CAPITALS.values() if city != right]))
    response = f"{said} ." if row["sample"] == 1 else f"the capital is {said} ."
    ids = tokens.response(response)
    preference = None if row["preference"] is None else float(rng.random())
    return row | {
        "response": response,
        "response_ids": ids,
        "behaviour_logprobs": [-1.0] * len(ids),
        "answer": said,
        "answer_kind": "entity",
        "reward_truth": float(said == right),
        "reward_preference": preference,
    }
