"""What `trialign doctor --model` says of a model."""

from __future__ import annotations

from pathlib import Path

from trialign_ray.cluster.doctor import Finding
from trialign_ray.config.attention import AutoAttentionSpec
from trialign_ray.config.generators import TransformersSpec
from trialign_ray.config.train import LoraSpec
from trialign_ray.trainer.guard.generation import wrong_generation
from trialign_ray.trainer.guard.verdict import Verdict, config_of, judge


def advise(folder: Path) -> tuple[Finding, ...]:
    """Whether audits may score the model in `folder`, it may be trained, and it answers many prompts at once.

    Raises ModelError.
    """
    config = config_of(folder)
    scored = judge(config, AutoAttentionSpec())
    trained = judge(config, AutoAttentionSpec(), LoraSpec())
    return (
        _finding("log-probs", scored),
        _finding("gradients", trained),
        _generation(wrong_generation(config, TransformersSpec(), 1)),
    )


def _generation(wrong: str | None) -> Finding:
    if wrong is None:
        fix = "Compare a few of its answers with those of transformers' own generate."
        return Finding("generation", "attention", "not judged: no small copy of the model can be made", fix)
    if wrong:
        return Finding("generation", "missing", wrong)
    return Finding("generation", "ok", "decoded from a cache, many prompts at once, as in its forward")


def _finding(name: str, verdict: Verdict) -> Finding:
    error = f"equal to a plain forward within {verdict.finding.error:.0e} nats a response"
    if verdict.attention is None:
        return Finding(name, "missing", verdict.why, "Use a model that docs/models.md has as exact.")
    if verdict.packed:
        return Finding(name, "ok", error)
    return Finding(
        name,
        "attention",
        f"{error}, one response a row: {verdict.why}",
        "Nothing; a step takes longer, since nothing is shared between responses.",
    )
