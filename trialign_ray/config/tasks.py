"""The specifications of an audit and of a collection."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from trialign_ray.config.base import JobSpec
from trialign_ray.config.endpoint import EndpointSpec, RecordedEndpointSpec
from trialign_ray.config.generators import GeneratorSpec, TransformersSpec
from trialign_ray.config.protocols import MOST_TURNS, TURNS_OF_PROTOCOL, ProtocolName, check_turns
from trialign_ray.config.train import PathOrUri, RunName

_ABSENT = {"type": "null"}
_NO_ROWS = {"map": {"maxProperties": 0}, "ignore": {"maxItems": 0}}
_ENGINE = {"properties": {"name": {"const": "transformers"}, "rows": {"const": TransformersSpec().rows}}}
_NO_WORKERS = {"workers": {"const": 1}, "gpus_per_worker": _ABSENT, "questions_per_batch": {"const": 8}}
_NO_MODEL = {"dtype": {"const": "auto"}, "device": {"const": "auto"}, "generator": _ENGINE, **_NO_WORKERS}
_NO_GENERATION = {"temperature": {"const": 0.7}, "max_new_tokens": {"const": 48}}
_NO_PROMPTS = {**_NO_GENERATION, "samples": {"const": 1}, "chat_template_kwargs": {"maxProperties": 0}}
_ONE_SOURCE: dict[str, Any] = {
    "oneOf": [
        {
            "required": ["model"],
            "properties": {
                **{"model": {"type": "string"}, "answers": _ABSENT, "endpoint": _ABSENT, "opens": _ABSENT},
                **_NO_ROWS,
            },
        },
        {
            "required": ["answers"],
            "properties": {
                **{"answers": {"type": "string"}, "model": _ABSENT, "endpoint": _ABSENT, "adapter": _ABSENT},
                **{**_NO_MODEL, **_NO_PROMPTS},
                "read": {"const": "generate"},
            },
        },
        {
            "required": ["endpoint"],
            "properties": {
                **{"endpoint": {"type": "object"}, "model": _ABSENT, "answers": _ABSENT, "adapter": _ABSENT},
                **{**_NO_ROWS, **_NO_MODEL},
                "read": {"const": "generate"},
            },
        },
    ],
    "if": {"required": ["read"], "properties": {"read": {"const": "score"}}},
    "then": {"properties": {"samples": {"const": 1}, "generator": _ENGINE, **_NO_GENERATION}},
    "else": {"properties": {"options": {"const": 4}}},
}
"""The validator's conditions below, as JSON Schema."""


class AuditSpec(JobSpec):
    """The truth report of a model, or of answers already collected from any assistant."""

    model_config = ConfigDict(json_schema_extra=_ONE_SOURCE)

    kind: Literal["audit"] = "audit"
    """What the job does."""
    name: RunName
    """Name of the run: its folder and its Ray job."""
    model: PathOrUri | None = None
    """Folder of a Hugging Face causal LM (safetensors)."""
    adapter: PathOrUri | None = None
    """A PEFT adapter to put on the model."""
    chat_template_kwargs: dict[str, JsonValue] = {}
    """Arguments of the model's chat template, 'enable_thinking' for instance; one that it does not read is refused."""
    answers: PathOrUri | None = None
    """A log dataset, JSONL, Parquet or the output of an OpenAI batch: answers instead of a model."""
    map: dict[str, str] = {}
    """Field of an answer -> where it lies in a row of 'answers': {response: output.content}; what begins with '=' is
    itself the value: {group: =neutral}."""
    ignore: tuple[str, ...] = ()
    """Fields of the rows of 'answers' to leave out."""
    endpoint: EndpointSpec | None = None
    """A server that is asked instead of a model."""
    opens: str | None = Field(default=None, min_length=1, max_length=80)
    """Opening tag of reasoning that the prompt of the server's chat template ends with, '<think>' for instance: a
    response without the closing tag is then unread. One of 'reasoning_tags' of the question set."""
    against: PathOrUri | None = None
    """Folder or report.json of an earlier audit with the same questions and groups, to hold this one against."""
    questions: PathOrUri
    """Question set, YAML or JSON."""
    groups: PathOrUri
    """Group set, YAML or JSON: the personas that ask."""
    runs: PathOrUri = "runs"
    """Where the run's folder is made."""
    split: Literal["train", "heldout", "all"] = "heldout"
    """Which questions are asked."""
    read: Literal["generate", "score"] = "generate"
    """How the model is asked: it answers freely, or options are scored behind each prompt, the likeliest being its
    answer; then all is named and nothing is sampled."""
    options: int = Field(default=4, ge=2, le=26)
    """Options that are scored for a question which gives none itself; fewer where its vocabulary is smaller."""
    samples: int = Field(default=1, ge=1, le=64)
    """Responses to each prompt; 1 is greedy, more are sampled and give the disagreement of a group with itself."""
    temperature: float = Field(default=0.7, gt=0, le=5)
    """Sampling temperature, used where there are several samples."""
    max_new_tokens: int = Field(default=48, ge=1, le=4096)
    """Longest answer, in tokens."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Random seed for sampling, and for the options that are drawn."""
    generator: GeneratorSpec = TransformersSpec()
    """Engine that answers the prompts."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of the model; 'auto' is bfloat16 on a GPU that has it, else float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; 'auto' is the GPU where there is one."""
    questions_per_batch: int = Field(default=8, ge=1, le=4096)
    """Questions that are answered together, or whose options are scored together."""
    workers: int = Field(default=1, ge=1, le=1024)
    """Copies of the model that answer or score at once. More than 1, or with `gpus_per_worker`, they are Ray actors
    of one CPU each."""
    gpus_per_worker: float | None = Field(default=None, ge=0, le=16)
    """GPUs that each worker reserves in the cluster, a share of one included; the model then runs on them, whatever
    this machine has, in bfloat16 where 'dtype' is 'auto'. Left out it is 1 on a GPU and 0 on a CPU."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples behind each confidence interval."""
    fail_if: tuple[str, ...] = ()
    """Conditions such as 'gap.low>0.05' under which the job fails."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.model, self.answers, self.endpoint)) != 1:
            raise ValueError("give 'model', 'answers' or 'endpoint', one of the three")
        if self.adapter is not None and self.model is None:
            raise ValueError("'adapter' goes on a 'model'; give both")
        if self.read == "score" and self.model is None:
            raise ValueError("read 'score' asks a model; give 'model' instead of 'answers' or 'endpoint'")
        if self.read == "score" and self.samples > 1:
            raise ValueError("read 'score' samples nothing; leave out 'samples'")
        if self.opens is not None and self.model is not None:
            raise ValueError("'opens' is of a server; what a model's own chat template opens is known. Leave it out")
        _check_gpus(self)
        if (self.map or self.ignore) and self.answers is None:
            raise ValueError("'map' and 'ignore' read the rows of 'answers'; give it, or leave them out")
        return self

    @model_validator(mode="after")
    def _all_used(self) -> Self:
        unused = _unused(self)
        for name in unused:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"'{name}' {unused[name]}; leave it out")
        return self


def _check_gpus(spec: AuditSpec | CollectSpec) -> None:
    """Raise ValueError for GPUs of workers that Ray or the device contradict."""
    gpus = spec.gpus_per_worker or 0.0
    if gpus > 1 and not gpus.is_integer():
        raise ValueError(f"'gpus_per_worker' is {gpus:g}; above 1 it is a whole number")
    if gpus and spec.device == "cpu":
        raise ValueError("workers with GPUs run the model on them; leave 'device' out, or set 'gpus_per_worker' to 0")


def _unused(spec: AuditSpec) -> dict[str, str]:
    """Fields that an audit of this kind does not read -> why."""
    if spec.answers is not None:
        found = dict.fromkeys(
            (*_NO_MODEL, *_NO_PROMPTS), "is of a model that is asked, and 'answers' are there already"
        )
    elif spec.endpoint is not None:
        found = dict.fromkeys(_NO_MODEL, "is of a model that runs here, and a server runs its own")
    elif spec.read == "score":
        found = dict.fromkeys(
            ("generator", *_NO_GENERATION), "is of answers that are generated, and read 'score' has none"
        )
    else:
        found = {}
    return found if spec.read == "score" else {**found, "options": "is of read 'score'"}


class CollectSpec(JobSpec):
    """Roll a model out as one agent a group and write offline logs."""

    model_config = ConfigDict(json_schema_extra=TURNS_OF_PROTOCOL)

    kind: Literal["collect"] = "collect"
    """What the job does."""
    name: RunName
    """Name of the Ray job."""
    model: PathOrUri
    """Folder of a Hugging Face causal LM (safetensors); with an endpoint, of the tokenizer that makes token ids."""
    adapter: PathOrUri | None = None
    """A PEFT adapter to put on the model."""
    endpoint: RecordedEndpointSpec | None = None
    """A server that answers instead of the model in the folder."""
    chat_template_kwargs: dict[str, JsonValue] = {}
    """Arguments of the model's chat template, 'enable_thinking' for instance; one that it does not read is refused."""
    questions: PathOrUri
    """Question set, YAML or JSON."""
    groups: PathOrUri
    """Group set, YAML or JSON: the personas that ask."""
    output: PathOrUri
    """Where the log dataset is written."""
    split: Literal["train", "heldout", "all"] = "train"
    """Which questions are asked."""
    unasked_in: PathOrUri | None = None
    """A log dataset: a group is asked only what it was not asked there, so that the two together are complete."""
    protocol: ProtocolName = "independent"
    """What agents are told before they answer again; docs/turns.md compares the protocols."""
    turns: int = Field(default=1, ge=1, le=MOST_TURNS)
    """Answers of each agent to one question."""
    samples: int = Field(default=6, ge=1, le=64)
    """K: trajectories of each question."""
    temperature: float = Field(default=0.7, ge=0, le=5)
    """Sampling temperature; 0 is greedy."""
    max_new_tokens: int = Field(default=32, ge=1, le=4096)
    """Longest answer, in tokens."""
    questions_per_batch: int = Field(default=8, ge=1, le=4096)
    """Questions whose responses are generated together."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Random seed for sampling."""
    generator: GeneratorSpec = TransformersSpec()
    """Engine that answers the prompts."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of the model; 'auto' is bfloat16 on a GPU that has it, else float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; 'auto' is the GPU where there is one."""
    workers: int = Field(default=1, ge=1, le=1024)
    """Copies of the model that answer at once. More than 1, or with `gpus_per_worker`, they are Ray actors of one CPU
    each."""
    gpus_per_worker: float | None = Field(default=None, ge=0, le=16)
    """GPUs that each worker reserves in the cluster, a share of one included; the model then runs on them, whatever
    this machine has, in bfloat16 where 'dtype' is 'auto'. Left out it is 1 on a GPU and 0 on a CPU."""
    overwrite: bool = False
    """Whether a dataset that is there may be replaced; it stays until the new one is whole."""

    @model_validator(mode="after")
    def _turns_of_protocol(self) -> Self:
        check_turns(self.protocol, self.turns)
        if self.unasked_in is not None and self.turns > 1:
            raise ValueError("'unasked_in' leaves groups out, and later turns show what all have said; set turns to 1")
        if self.endpoint is not None and self.adapter is not None:
            raise ValueError("'adapter' goes on the model in the folder, and a server answers; leave one of them out")
        if self.endpoint is not None and (self.workers > 1 or self.gpus_per_worker is not None):
            raise ValueError("'workers' hold copies of the model; a server takes 'endpoint.concurrency' instead")
        _check_gpus(self)
        if self.endpoint is not None and self.endpoint.logprobs == "raw" and self.temperature not in (0, 1):
            raise ValueError(
                "logprobs 'raw' are those before temperature, and the log needs those of what was sampled; set "
                "temperature 1, or logprobs 'absent'"
            )
        return self
