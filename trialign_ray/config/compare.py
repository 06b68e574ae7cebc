"""The specification of a comparison: algorithms x seeds x regimes, with what was predicted before anything ran."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from trialign_ray.config.algorithm import AnyAlgorithmSpec
from trialign_ray.config.base import JobSpec, Strict, explain
from trialign_ray.config.generators import InProcessSpec, TransformersSpec
from trialign_ray.config.train import PathOrUri, RunName, TrainSpec

Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]
"""Name of an arm, a regime or a family."""
Share = Annotated[float, Field(gt=0, lt=1)]

BASE, NEUTRAL_TO_ALL, VOTE = "base", "neutral_to_all", "vote"
PROMPTED: dict[str, str] = {
    "persona_deleted": "trialign_ray.envs.references.persona_deleted:persona_deleted",
    "debias_instruction": "trialign_ray.envs.references.debias_instruction:debias_instruction",
    "persona_rewritten": "trialign_ray.envs.references.persona_rewritten:persona_rewritten",
    "answer_then_restyle": "trialign_ray.envs.references.answer_then_restyle:answer_then_restyle",
}
"""Reference arms that ask the untrained model with other prompts -> a `trialign_ray.envs.references.base:Reference`."""
REFERENCES = (BASE, NEUTRAL_TO_ALL, VOTE, *PROMPTED)
"""Arms without training."""

FIGURES: dict[str, str] = {
    "closed.accuracy": "accuracy",
    "closed.everyone": "everyone",
    "closed.someone": "someone",
    "closed.worst_group": "worst group",
    "closed.contradiction": "contradiction",
    "closed.shared_falsehood": "shared falsehood",
    "closed.neutral": "neutral",
    "calibrated.accuracy": "accuracy",
    "calibrated.everyone": "everyone",
    "calibrated.contradiction": "contradiction",
    "calibrated.shared_falsehood": "shared falsehood",
    "free.named": "named",
    "free.right_given_named": "right given named",
    "free.accuracy": "accuracy",
    "free.everyone": "everyone",
    "free.someone": "someone",
    "free.worst_group": "worst group",
    "free.contradiction": "contradiction",
    "free.shared_falsehood": "shared falsehood",
    "free.neutral": "neutral",
    "free.preference": "preference",
    "free.vote_gain": "vote's gain",
}
"""What is measured, `reading.figure`, and its heading under the reading's."""
LOWER_IS_BETTER = frozenset(name for name in FIGURES if name.endswith((".contradiction", ".shared_falsehood")))
NO_INTERVAL = frozenset({"closed.worst_group", "free.worst_group"})
"""A minimum over groups is not smooth: a bootstrap of it has no coverage, so it stands without an interval."""
TESTED = [name for name in FIGURES if name not in NO_INTERVAL and name != "free.vote_gain"]
"""Figures of which a contrast may be; a difference of the vote's gain is that of right for everyone, scaled."""


class FewerRows(Strict):
    """Some groups have logged less than the others."""

    groups: tuple[str, ...] = Field(min_length=1)
    """The groups with few rows."""
    ratio: float = Field(default=10, gt=1)
    """How many times as much the other groups have logged."""
    of: Literal["responses", "questions"] = "responses"
    """What is fewer: responses to each question, of which one is always kept, or questions that were asked at all."""


class LabelChanges(Strict):
    """What is done to the labels; questions are drawn by hash, so every arm and seed gets the same ones."""

    labels_kept: float = Field(default=1.0, ge=0, le=1)
    """Share of the training questions whose truth is known; the others become questions without a truth."""
    labels_wrong: float = Field(default=0.0, ge=0, lt=1)
    """Share of the labelled questions whose truth is replaced by the wrong answer that was logged most often."""
    labels_swapped: bool = False
    """Whether every labelled question gets the truth of another one of its topic: labels that know nothing."""
    pseudo_labels: bool = False
    """Questions that lose their truth by 'labels_kept' get the answer that most of their responses name instead."""


class LogChanges(LabelChanges):
    """What a regime does to the logs."""

    fewer: FewerRows | None = None
    """Imbalance between groups."""
    without_groups: tuple[str, ...] = ()
    """Groups that are left out of training; the evaluation asks them too."""
    without_topics: tuple[str, ...] = ()
    """Topics that are left out of training; the evaluation asks them too."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the draws."""


class Regime(Strict):
    """One condition under which all arms are trained."""

    predicted: str = Field(min_length=20, max_length=2000)
    """Which term of the objective should win here, and why: written before the run, printed in the report."""
    logs: LogChanges = LogChanges()
    """What is done to the logs."""
    train: dict[str, JsonValue] = {}
    """Fields of the training specification that this regime sets for every arm: lora, epochs, logs, policy."""
    groups: PathOrUri | None = None
    """Group set that the evaluation asks instead of its own."""
    algorithms: tuple[Label, ...] | None = None
    """Arms that are trained in this regime; all without it."""
    seeds: tuple[int, ...] | None = None
    """Seeds of this regime; those of the arm, or of the file, without it."""


class Arm(Strict):
    """One algorithm as it is compared."""

    algorithm: AnyAlgorithmSpec
    """What is optimised."""
    train: dict[str, JsonValue] = {}
    """Other fields of the training specification that are this arm's own: candidates, optimizer."""
    family: Label | None = None
    """Family in 'learning_rates' whose choice this arm takes; without it the rate of 'optimizer' stands."""
    logs: LabelChanges = LabelChanges()
    """Changes of the labels that are this arm's own; what is given here replaces the regime's."""
    seeds: tuple[int, ...] | None = None
    """Seeds of this arm; those of the file without it."""
    free: bool = True
    """Whether it also writes free answers, which takes most of an evaluation; false reads its options alone."""


class Contrast(Strict):
    """One difference that is tested; all are named before the run, and Holm's correction is over all of them."""

    name: str = Field(min_length=1, max_length=80)
    """What the report calls it."""
    of: Label
    """Arm whose figure counts plus."""
    against: Label
    """Arm or reference whose figure counts minus."""
    figure: str
    """Which figure: 'closed.everyone', 'free.right_given_named' and others."""
    regime: Label
    """In which regime."""
    unseen: bool = False
    """Only the groups and topics that the regime leaves out of training."""


class HeldOutSpec(Strict):
    """What is asked of every arm: options are scored, with and without their prior, and answers are written."""

    questions: PathOrUri
    """Question set, YAML or JSON; those of the split 'heldout' are asked."""
    groups: PathOrUri
    """Group set, YAML or JSON: the personas that ask."""
    options: int = Field(default=4, ge=2, le=26)
    """Options that are scored for a question which gives none itself."""
    most: int | None = Field(default=None, ge=1)
    """Questions that are asked, drawn by hash; all without it."""
    most_free: int | None = Field(default=None, ge=0)
    """Those of them that are also answered freely, drawn by hash; all without it, 0 for none."""
    max_new_tokens: int = Field(default=48, ge=1, le=4096)
    """Longest free answer, in tokens."""
    text: PathOrUri | None = None
    """What perplexity is measured on: a log dataset, whose responses count, or a plain text file."""
    generator: InProcessSpec = TransformersSpec()
    """Engine that writes the free answers."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples, of questions or subjects and of seeds, behind each interval."""
    cluster: Literal["question", "subject"] = "question"
    """What resamples draw: questions, or subjects with all their questions. A subject is what a question's id ends with
    behind its last '-'."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of drawn options, questions and resamples."""


class ValidationSpec(Strict):
    """How a learning rate is chosen: on training questions that are kept out of the trials' logs."""

    share: Share = 0.2
    """Share of the training questions."""
    figure: str = "closed.accuracy"
    """Figure that decides; of equal ones the lower rate."""
    regime: Label | None = None
    """Regime whose logs the trials train on; the first without it."""


class CellSpec(Strict):
    """What one cell of the grid may use."""

    cpus: int = Field(default=2, ge=1, le=1024)
    """PyTorch's threads, and what a Ray task reserves."""
    gpu: bool = False
    """One GPU a cell."""


class CompareSpec(JobSpec):
    """A grid of arms, seeds and regimes, each trained and evaluated alike."""

    kind: Literal["compare"] = "compare"
    """What the job does."""
    name: RunName
    """Name of the comparison's folder."""
    runs: PathOrUri = "runs"
    """Where that folder is made."""
    base: dict[str, JsonValue]
    """Fields of the training specification that all arms share; 'algorithm', 'seed' and 'evaluation' come from here."""
    algorithms: dict[Label, Arm] = Field(min_length=1)
    """Arms that are trained, by label."""
    references: tuple[str, ...] = ("base", "neutral_to_all", "vote")
    """Arms without training; 'base' is always among them."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds of every arm."""
    regimes: dict[Label, Regime] = Field(min_length=1)
    """Conditions, by label."""
    evaluation: HeldOutSpec
    """What is asked of every arm."""
    learning_rates: dict[Label, tuple[Annotated[float, Field(gt=0, le=1)], ...]] = {}
    """Family -> the rates that are tried; every family has equally many."""
    validation: ValidationSpec = ValidationSpec()
    """How one of them is chosen."""
    contrasts: tuple[Contrast, ...] = ()
    """Differences that are tested; the report refuses any that were added after the first cell was finished."""
    cell: CellSpec = CellSpec()
    """What one cell may use."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if faults := [*_faults(self), *_label_faults(self), *contrast_faults(self, self.contrasts)]:
            raise ValueError("; ".join(faults))
        for label, arm in self.algorithms.items():
            for regime in self.regimes.values():
                _check_training(self, label, arm, regime)
        return self

    def trained_in(self, regime: str) -> dict[str, Arm]:
        """Label -> the arms that a regime trains."""
        chosen = self.regimes[regime].algorithms
        return {label: arm for label, arm in self.algorithms.items() if chosen is None or label in chosen}

    def train_spec(self, arm: Arm, regime: Regime, seed: int, rate: float | None = None) -> TrainSpec:
        """The training that an arm does in a regime: base, then the arm's fields, then the regime's.

        rate: a learning rate in place of the specified one. Raises ValidationError.
        """
        fields = merged(merged(self.base, arm.train), regime.train)
        fields |= {
            "name": self.name,
            "seed": seed,
            "algorithm": arm.algorithm.model_dump(mode="json", exclude_unset=True),
        }
        if rate is not None:
            fields = merged(fields, {"optimizer": {"learning_rate": rate}})
        return TrainSpec.model_validate(fields)

    def seeds_of(self, arm: Arm, regime: Regime) -> tuple[int, ...]:
        """Seeds of one arm in one regime; the regime's count where both name some."""
        return regime.seeds or arm.seeds or self.seeds


def log_changes(arm: Arm, regime: Regime) -> LogChanges:
    """What is done to the logs of an arm in a regime."""
    return regime.logs.model_copy(update=arm.logs.model_dump(exclude_unset=True))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the fields of `above`, those of inner mappings one by one."""
    both = {
        name: merged(below[name], value)
        if isinstance(value, Mapping) and isinstance(below.get(name), Mapping)
        else value
        for name, value in above.items()
    }
    return {**below, **both}


def _faults(spec: CompareSpec) -> Iterator[str]:
    places = {"base": spec.base, **{f"regimes.{name}.train": regime.train for name, regime in spec.regimes.items()}}
    for place, fields in places.items():
        taken = sorted(fields.keys() & {"algorithm", "seed", "evaluation", "name", "runs"})
        yield from (f"'{place}.{field}' is set by the comparison; remove it" for field in taken)
    if unknown := sorted(set(spec.references) - set(REFERENCES)):
        yield f"'references' names '{unknown[0]}', known: {', '.join(REFERENCES)}"
    if clash := sorted(set(spec.algorithms) & set(REFERENCES)):
        yield f"algorithm '{clash[0]}' has the name of a reference arm; choose another label"
    families = {arm.family for arm in spec.algorithms.values() if arm.family is not None}
    if unknown := sorted(families - set(spec.learning_rates)):
        yield f"family '{unknown[0]}' has no 'learning_rates'; add them, or remove the family"
    if len({len(rates) for rates in spec.learning_rates.values()}) > 1 or () in spec.learning_rates.values():
        yield "'learning_rates' must try equally many rates, at least one, in every family"
    for name, regime in spec.regimes.items():
        if len(regime.logs.without_groups) == 1:
            yield f"regime '{name}': 'logs.without_groups' has one group; leave out two groups at least, to compare"
        if unknown := sorted(set(regime.algorithms or ()) - set(spec.algorithms)):
            yield f"regime '{name}' names the algorithm '{unknown[0]}', known: {sorted(spec.algorithms)}"
    if spec.validation.regime is not None and spec.validation.regime not in spec.regimes:
        yield f"'validation.regime' is '{spec.validation.regime}', known: {sorted(spec.regimes)}"
    if spec.validation.figure not in TESTED:
        yield f"'validation.figure' is '{spec.validation.figure}', known: {', '.join(TESTED)}"


def _label_faults(spec: CompareSpec) -> Iterator[str]:
    for label, regime in spec.regimes.items():
        for name, arm in spec.trained_in(label).items():
            changes = log_changes(arm, regime)
            if changes.pseudo_labels and changes.labels_kept == 1:
                yield (
                    f"algorithm '{name}' in regime '{label}': 'pseudo_labels' guesses the truths that 'labels_kept' "
                    "takes away, and it takes none. Keep less, or leave the arm out of the regime's 'algorithms'"
                )


def contrast_faults(spec: CompareSpec, contrasts: Sequence[Contrast]) -> Iterator[str]:
    """What is wrong with contrasts of the arms and regimes of `spec`."""
    arms = {*spec.algorithms, *spec.references, BASE}
    for each in contrasts:
        where = f"contrast '{each.name}'"
        if each.figure not in TESTED:
            yield f"{where}: figure '{each.figure}' cannot be tested; choose one of {', '.join(TESTED)}"
        if unknown := [arm for arm in (each.of, each.against) if arm not in arms]:
            yield f"{where}: no arm '{unknown[0]}', known: {sorted(arms)}"
        silent = [arm for arm in (each.of, each.against) if arm in spec.algorithms and not spec.algorithms[arm].free]
        if each.figure.startswith("free.") and (silent or spec.evaluation.most_free == 0):
            who = f"'algorithms.{silent[0]}.free' is false" if silent else "'evaluation.most_free' is 0"
            yield f"{where}: figure '{each.figure}' is of free answers, but {who}; choose a closed figure"
        if each.regime not in spec.regimes:
            yield f"{where}: no regime '{each.regime}', known: {sorted(spec.regimes)}"
        elif each.unseen and not _leaves_out(spec.regimes[each.regime].logs):
            yield f"{where}: regime '{each.regime}' leaves no group or topic out; set its 'logs.without_groups'"
    names = Counter(each.name for each in contrasts)
    yield from (f"two contrasts are called '{name}'; give each a name of its own" for name in names if names[name] > 1)


def _leaves_out(logs: LogChanges) -> bool:
    return bool(logs.without_groups or logs.without_topics)


def _check_training(spec: CompareSpec, label: str, arm: Arm, regime: Regime) -> None:
    """Raise ValueError where the arm's training specification is wrong: before any cell has run."""
    try:
        made = spec.train_spec(arm, regime, 0)
    except ValidationError as error:
        text = explain(error, f"algorithm '{label}'")
        raise ValueError(re.sub(r"\n", "; ", text)) from None
    if made.adapter == "full":
        raise ValueError(f"algorithm '{label}': a comparison keeps an adapter for each cell; leave out 'adapter: full'")
