"""The specification of an evaluation from logs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from trialign_ray.config.base import JobSpec
from trialign_ray.config.train import PathOrUri, RunName


class EvaluateSpec(JobSpec):
    """What a model would earn on logged questions, sampled as the logs were."""

    kind: Literal["evaluate"] = "evaluate"
    """What the job does."""
    name: RunName
    """Name of the run: its folder."""
    logs: PathOrUri
    """Log dataset; first turns count."""
    model: PathOrUri
    """Folder of a Hugging Face causal LM (safetensors)."""
    adapter: PathOrUri | None = None
    """A PEFT adapter to put on the model."""
    chat_template_kwargs: dict[str, JsonValue] = {}
    """Arguments of the model's chat template, as the logs were collected with."""
    temperature: float = Field(gt=0, le=5)
    """Temperature that the logs were sampled at; the policy that is evaluated is sampled at it too."""
    questions: PathOrUri | None = None
    """Question set, YAML or JSON: fresh answers are read and scored by it."""
    groups: PathOrUri | None = None
    """Group set, YAML or JSON: who asks. With both sets rewards are recomputed on fresh draws."""
    importance: bool = False
    """Estimate from the logged responses alone also what could be recomputed on fresh draws."""
    split: Literal["train", "heldout", "all"] = "heldout"
    """Which logged questions count."""
    questions_at_most: int | None = Field(default=None, ge=1)
    """Evaluate on so many of them, drawn by the seed."""
    samples: int = Field(default=6, ge=2, le=64)
    """Fresh draws behind each prompt."""
    max_new_tokens: int | None = Field(default=None, ge=1, le=4096)
    """Longest fresh answer, in tokens; by default the longest that was logged."""
    runs: PathOrUri = "runs"
    """Where the run's folder is made."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Random seed for fresh draws, and for the questions that are drawn."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of the model; 'auto' is bfloat16 on a GPU that has it, else float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; 'auto' is the GPU where there is one."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples behind each confidence interval."""

    @model_validator(mode="after")
    def _both_sets(self) -> Self:
        if (self.questions is None) != (self.groups is None):
            raise ValueError("fresh draws need 'questions' and 'groups'; give both, or neither")
        if self.questions is None and not self.importance:
            raise ValueError(
                "fresh draws need 'questions' and 'groups'; give both, or set 'importance' to estimate from the logged "
                "responses alone"
            )
        return self

    @model_validator(mode="after")
    def _all_used(self) -> Self:
        for name in ("questions", "groups", "chat_template_kwargs", "samples", "max_new_tokens"):
            if self.importance and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"'{name}' is of fresh draws, and 'importance' makes none; leave one of them out")
        return self
