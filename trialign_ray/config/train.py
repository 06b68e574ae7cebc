"""The specification of one training run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, WithJsonSchema, model_validator

from trialign_ray.config.algorithm import ALGORITHMS, AlgorithmSpec, AnyAlgorithmSpec, TrialignSpec
from trialign_ray.config.attention import AttentionSpec, AutoAttentionSpec
from trialign_ray.config.base import JobSpec, Strict
from trialign_ray.config.generators import InProcessSpec, TransformersSpec
from trialign_ray.config.seams import Entry, Imported

RUN_NAME = r"^[a-z0-9][a-z0-9_-]{0,59}$"
RunName = Annotated[str, Field(pattern=RUN_NAME)]
"""A folder's, an actor's and a Ray job's name at once."""
PathOrUri = Annotated[str, Field(min_length=1, max_length=1000)]
"""A path, or a pyarrow filesystem URI (file://, s3://, gs://)."""
Labels = Literal["truth", "majority", "neutral"]
"""What counts as right in training."""
Distractors = Literal["said", "topic"]
Recomputing = Annotated[
    Literal[False, True, "selective"],
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["selective"]}]}),
]
"""An enum of two types, as `Literal` has it, is what generators of clients leave out with all that names it."""


class CandidateSpec(Strict):
    """Which responses compete in one group's prompt, and which of them count as right."""

    own: int = Field(default=6, ge=1, le=64)
    """The group's own logged responses, the first samples of turn 1."""
    borrowed: int = Field(default=3, ge=0, le=64)
    """Right responses of other groups (any turn) or of the group's later turns, those that suit its preference best
    first: how a fact that only one persona elicits reaches the others."""
    later_turns: bool = True
    """Whether responses of later turns may be borrowed, the group's own and its peers'."""
    labels: Labels = "truth"
    """truth; majority: the answer that most responses of a question's last turn give, over all groups; neutral: what
    the control said in its first turn, right or wrong."""
    answers: int = Field(default=0, ge=0, le=64)
    """Answers in the closed set of each question, for `algorithm.facts`: the truth, what groups said instead, then
    answers to other questions of the topic. 0: no set."""
    distractors: Distractors = "said"
    """What competes first with a known truth in the closed set: said, what groups said instead, the hardest; topic,
    answers to other questions of the topic, so that no common error is unlearnt where it is right."""
    frames: int = Field(default=2, ge=0, le=16)
    """Logged wordings of a group in which each answer of the set is put, at most; short answers come beside them."""


class LoraSpec(Strict):
    """The adapter; everything else is frozen."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank of the two factors of each adapted matrix."""
    alpha: float = Field(default=32, gt=0)
    """The update counts alpha / rank."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["all-linear"] = "all-linear"
    """Names of the linear layers that are adapted, or all but the output layer."""


Trained = LoraSpec | Literal["full"]
"""What is trained of a model: an adapter on it, or all of its weights."""
Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSpec(Strict):
    """AdamW with a cosine schedule after a linear warm-up."""

    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """At its highest, after the warm-up."""
    warmup_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the optimizer steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, of what is trained (Loshchilov & Hutter 2019)."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the moving averages of the gradient and of its square."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Longer gradients, in the L2 norm over all that is trained, are scaled down to it."""


class LearnerSpec(Strict):
    """The learner group: Ray Train workers under DeepSpeed ZeRO."""

    workers: int = Field(default=2, ge=1, le=1024)
    """Processes; each takes its share of a step's prompts."""
    min_workers: int | None = Field(default=None, ge=1, le=1024)
    """Elastic: training starts with as few as these and grows up to `workers` with the cluster, each time from the last
    checkpoint. None: always `workers`."""
    zero_stage: Literal[1, 2, 3] = 2
    """What is split over the workers: 1 optimizer states, 2 also gradients, 3 also the weights."""
    offload_optimizer: bool = False
    """Optimizer states lie in the machine's memory, and AdamW runs on its CPU; for `gpu: true` only."""
    gpu: bool = False
    """One GPU a worker, NCCL; without it CPU and gloo. Never chosen for you."""
    cpus_per_worker: float = Field(default=0.9, gt=0)
    """What Ray sets aside for one; fractions leave room for the group actors."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the weights and the forward; the optimizer's copies of what is trained are always float32."""
    attention: AttentionSpec = AutoAttentionSpec()
    """Attention over packed trees."""
    tokens_per_pass: int | None = Field(default=None, ge=1)
    """Most tokens, packed, whose activations a worker holds at one time. A step with more is scored first and then run
    again pass by pass. None: as many as fit into the memory that is free when the worker starts."""
    activation_checkpointing: Recomputing = False
    """Recompute each layer in the backward: more tokens fit a pass, and a response may be longer than a pass holds.
    'selective' keeps its products with weights, so that little is computed twice; not with `zero_stage: 3`."""
    max_restarts: int = Field(default=2, ge=0)
    """How often the group may be started again from the last checkpoint after a worker or an actor died."""

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Kind of device that the workers train on."""
        return "cuda" if self.gpu else "cpu"

    @property
    def fewest_workers(self) -> int:
        """With which training may begin."""
        return self.workers if self.min_workers is None else self.min_workers

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        if self.fewest_workers > self.workers:
            raise ValueError(f"'min_workers' is {self.min_workers}, more than 'workers', {self.workers}; lower it")
        if self.offload_optimizer and not self.gpu:
            raise ValueError("'offload_optimizer' takes states off a GPU, and 'gpu' is false; leave it out")
        if self.zero_stage == 3 and self.activation_checkpointing == "selective":
            raise ValueError(
                "'activation_checkpointing: selective' asks a layer for the same operations each time, and "
                "'zero_stage: 3' gathers weights among them; set it to true, or another stage"
            )
        return self


class EvaluationSpec(Strict):
    """The truth report before and after, on held-out questions."""

    questions: PathOrUri
    """Question set, YAML or JSON; the held-out ones are asked."""
    groups: PathOrUri
    """Group set, YAML or JSON: the personas that ask."""
    max_new_tokens: int = Field(default=48, ge=1, le=4096)
    """Longest answer, in tokens."""
    generator: InProcessSpec = TransformersSpec()
    """Engine that answers the prompts."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples behind each confidence interval."""


def _where(**fields: JsonValue) -> JsonValue:
    """JSON Schema of an object that gives all `fields`, each as its schema says."""
    return {"required": [*fields], "properties": {**fields}}


def _settled(name: str, entry: Entry) -> Iterator[JsonValue]:
    spec = entry.spec.model_validate({"name": name})
    fixed = dict(spec.settles()) if isinstance(spec, AlgorithmSpec) else {}
    if fixed:
        fixed |= {"answers": 0} if fixed.get("labels", "truth") != "truth" else {}
        candidates: JsonValue = {"properties": {field: {"const": value} for field, value in fixed.items()}}
        yield {
            "if": _where(algorithm=_where(name={"const": name})),
            "then": {"properties": {"candidates": candidates}},
        }


_CONSISTENT: dict[str, JsonValue] = {
    "allOf": [
        {
            "not": _where(
                policy={"const": "per_group"}, learner=_where(activation_checkpointing={"not": {"const": False}})
            )
        },
        {"not": _where(learner=_where(zero_stage={"const": 3}, activation_checkpointing={"const": "selective"}))},
        {"if": _where(adapter={"const": "full"}), "then": {"properties": {"policy": {"const": "shared"}}}},
        {
            "if": _where(candidates=_where(labels={"not": {"const": "truth"}})),
            "then": {"properties": {"candidates": {"properties": {"answers": {"const": 0}}}}},
        },
        {
            "if": _where(algorithm=_where(facts={"type": "object"})),
            "then": _where(candidates=_where(answers={"minimum": 2})),
        },
        *(condition for name, entry in ALGORITHMS.items() for condition in _settled(name, entry)),
    ]
}
"""The validators' conditions below, as JSON Schema."""


class TrainSpec(JobSpec):
    """One run: offline logs in, adapter or model and report out."""

    model_config = ConfigDict(json_schema_extra=_CONSISTENT)

    kind: Literal["train"] = "train"
    """What the job does."""
    name: RunName
    """Name of the run: its folder, its actors and its Ray job."""
    model: PathOrUri
    """Folder of a Hugging Face causal LM (safetensors)."""
    chat_template_kwargs: dict[str, JsonValue] = {}
    """Arguments of the model's chat template, 'enable_thinking' for instance; one that it does not read is refused."""
    logs: PathOrUri
    """Log dataset, as `trialign collect` or `trialign logs import` writes it."""
    groups: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Which groups of the logs train; all without it. Right answers of the others are still borrowed."""
    runs: PathOrUri = "runs"
    """Where the run's folder is made."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Random seed for the order of questions and the adapter's first weights."""
    questions_per_step: int = Field(default=4, ge=1, le=4096)
    """The batch size: whole questions, all groups, per optimizer step, over all workers."""
    epochs: float = Field(default=1.0, gt=0, le=1000)
    """Passes over the training questions; the last may be partial."""
    algorithm: AnyAlgorithmSpec = TrialignSpec()
    """What is optimised; 'trialign' unless it is named."""
    candidates: CandidateSpec = CandidateSpec()
    """Which responses compete."""
    policy: Literal["shared", "per_group"] = "shared"
    """shared: one adapter speaks for all groups; per_group: each group has an adapter of its own on the same frozen
    model, trained together and saved each. Then a step is one pass a group."""
    adapter: Literal["lora", "full"] = "lora"
    """lora: an adapter on frozen weights; full: all weights are trained, and the run leaves a model."""
    lora: LoraSpec = LoraSpec()
    """The adapter of `adapter: lora`."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """AdamW and its schedule."""
    learner: LearnerSpec = LearnerSpec()
    """The processes that train, and their precision."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Optimizer steps between checkpoints; the last step always writes one."""
    metrics: tuple[Imported, ...] = ()
    """Metric writers of your own, beside the JSON lines, TensorBoard events and Ray gauges that every run has."""
    evaluation: EvaluationSpec | None = None
    """The truth report before and after; none without it."""

    def competing(self) -> CandidateSpec:
        """Which responses compete, with what the algorithm itself settles."""
        return self.candidates.model_copy(update=self.algorithm.settles())

    @property
    def trained(self) -> Trained:
        """What is trained of the model."""
        return self.lora if self.adapter == "lora" else "full"

    def own_adapters(self, groups: Sequence[str]) -> tuple[str, ...]:
        """Those of the logs' `groups` that have an adapter of their own: all, or none where one is shared."""
        return tuple(groups) if self.policy == "per_group" else ()

    @model_validator(mode="after")
    def _all_weights_are_everyones(self) -> Self:
        if self.adapter == "full" and self.policy == "per_group":
            raise ValueError("'policy: per_group' is of adapters; all weights are everyone's. Set 'adapter: lora'")
        if self.adapter == "full" and "lora" in self.model_fields_set and self.lora != LoraSpec():
            raise ValueError("'lora' describes an adapter, and 'adapter: full' trains all weights; leave it out")
        return self

    @model_validator(mode="after")
    def _adapters_stay_while_recomputed(self) -> Self:
        if self.policy == "per_group" and self.learner.activation_checkpointing:
            raise ValueError(
                "'learner.activation_checkpointing' recomputes layers after the last group's pass, under its adapter "
                "alone; leave it out, or set 'policy: shared'"
            )
        return self

    @model_validator(mode="after")
    def _as_the_algorithm_settles(self) -> Self:
        for name, settled in self.algorithm.settles().items():
            given = getattr(self.candidates, name)
            if name in self.candidates.model_fields_set and given != settled:
                raise ValueError(
                    f"'candidates.{name}' is {given!r}, but algorithm '{self.algorithm.name}' settles it as "
                    f"{settled!r}. Leave it out, or take another algorithm."
                )
        if self.candidates.answers and self.competing().labels != "truth":
            raise ValueError("'candidates.answers' are made from the truth; leave them out, or set 'labels: truth'.")
        return self

    @model_validator(mode="after")
    def _facts_need_answers(self) -> Self:
        if getattr(self.algorithm, "facts", None) is not None and self.candidates.answers < 2:
            raise ValueError("'algorithm.facts' reads answers; set 'candidates.answers' to 2 or more")
        return self
