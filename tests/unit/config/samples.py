"""The least that each specification needs."""

from __future__ import annotations

from typing import Any

from trialign_ray.config.algorithm import (
    ALGORITHMS,
    AlgorithmSpec,
    AnswerLikelihoodSpec,
    FactsSpec,
    ImportedAlgorithm,
    InconsistencySpec,
    TrialignSpec,
    UtilitySpec,
)
from trialign_ray.config.attention import ATTENTION
from trialign_ray.config.base import JobSpec, Strict
from trialign_ray.config.compare import (
    Arm,
    CellSpec,
    CompareSpec,
    Contrast,
    FewerRows,
    HeldOutSpec,
    LabelChanges,
    LogChanges,
    Regime,
    ValidationSpec,
)
from trialign_ray.config.critic import CRITICS
from trialign_ray.config.cues import (
    BeliefCue,
    BiographyCue,
    DialogueCue,
    Exchange,
    ImportedCue,
    NameCue,
    PersonaCue,
    ProfileCue,
    SystemCue,
)
from trialign_ray.config.endpoint import EndpointSpec, RecordedEndpointSpec
from trialign_ray.config.evaluate import EvaluateSpec
from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet
from trialign_ray.config.generators import GENERATORS, EngineSpec
from trialign_ray.config.losses import LOSSES
from trialign_ray.config.preferences import (
    Contains,
    Diet,
    EndsWith,
    Formality,
    ImportedRule,
    LetterCase,
    MaxWords,
    MinWords,
    PlainText,
    Preference,
    ReadingLevel,
    Spelling,
    StartsWith,
    Units,
)
from trialign_ray.config.seams import Imported, ImportedSpec
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.config.train import CandidateSpec, EvaluationSpec, LearnerSpec, LoraSpec, OptimizerSpec, TrainSpec
from trialign_ray.config.welfare import WELFARES, ImportedWelfare

TRAIN = {"kind": "train", "name": "demo", "model": "m", "logs": "demo/logs"}
AUDIT = {"kind": "audit", "name": "demo", "model": "m", "questions": "q.json", "groups": "g.yaml"}
SERVER = {"url": "https://llm.example/v1", "model": "m"}
COLLECT = {
    "kind": "collect",
    "name": "demo",
    "model": "m",
    "questions": "q.json",
    "groups": "g.yaml",
    "output": "out",
}
QUESTION = {"question_id": "q", "text": "Capital of Peru?", "references": ["Lima"]}
QUESTIONS = {"name": "demo", "questions": [QUESTION]}
GROUPS = {"groups": [{"name": "neutral"}, {"name": "nurse", "persona": "A nurse."}]}
BRIEF = {"name": "brief", "rule": {"rule": "max_words", "words": 5}, "explicit": "Be brief.", "implicit": "In a hurry."}

ARM: dict[str, Any] = {"algorithm": {"name": "sft"}}
REGIME: dict[str, Any] = {"predicted": "Nothing wins here: no model is asked."}
COMPARE: dict[str, Any] = {
    **{"name": "grid", "base": {"model": "m", "logs": "l"}, "algorithms": {"sft": ARM}, "regimes": {"all": REGIME}},
    "evaluation": {"questions": "q.json", "groups": "g.yaml"},
}
LEAST: dict[type[Strict], dict[str, Any]] = {
    JobSpec: {"kind": "bake", "name": "cake"},
    TrainSpec: TRAIN,
    AuditSpec: AUDIT,
    EvaluateSpec: {"name": "e", "logs": "l", "model": "m", "temperature": 0.7, "importance": True},
    CollectSpec: COLLECT,
    Question: QUESTION,
    QuestionSet: QUESTIONS,
    Group: {"name": "nurse"},
    GroupSet: GROUPS,
    EndpointSpec: SERVER,
    RecordedEndpointSpec: SERVER,
    Preference: BRIEF,
    MaxWords: {"words": 5},
    MinWords: {"words": 5},
    ReadingLevel: {"grade": 4},
    Formality: {"register": "formal"},
    LetterCase: {"case": "lower"},
    StartsWith: {"text": "Hey"},
    EndsWith: {"text": "Bye"},
    Contains: {"text": "**"},
    Units: {"system": "metric"},
    Diet: {"diet": "vegan"},
    PlainText: {},
    Spelling: {"variant": "british"},
    PersonaCue: {},
    ProfileCue: {"known": {"Home": "Mali"}},
    BiographyCue: {"text": "Born in Mali."},
    NameCue: {"name": "Awa"},
    Exchange: {"user": "Hello.", "assistant": "Hello."},
    DialogueCue: {"turns": [{"user": "Hello.", "assistant": "Hello."}]},
    BeliefCue: {"statement": "It is {misbelief}."},
    SystemCue: {"messages": ["The user lives in Mali."]},
    ImportedCue: {"import_path": "package.module:name"},
    Imported: {"import_path": "package.module:name"},
    ImportedAlgorithm: {"name": "import_path", "import_path": "package.module:name"},
    ImportedRule: {"import_path": "package.module:name"},
    ImportedWelfare: {"import_path": "package.module:name"},
    AlgorithmSpec: {"name": "trialign"},
    **{entry.spec: {"name": name} for name, entry in ALGORITHMS.items()},
    ImportedSpec: {"import_path": "package.module:name"},
    EngineSpec: {},
    **{entry.spec: {} for entry in GENERATORS.values()},
    **{entry.spec: {} for entry in ATTENTION.values()},
    EvaluationSpec: {"questions": "q.json", "groups": "g.yaml"},
    **{model: {} for model in (TrialignSpec, UtilitySpec, FactsSpec, InconsistencySpec, AnswerLikelihoodSpec)},
    **{entry.spec: {} for entry in (*LOSSES.values(), *WELFARES.values(), *CRITICS.values())},
    **{model: {} for model in (CandidateSpec, LoraSpec, OptimizerSpec, LearnerSpec)},
    **{model: {} for model in (LabelChanges, LogChanges, ValidationSpec, CellSpec)},
    FewerRows: {"groups": ["nurse"]},
    Regime: REGIME,
    Arm: ARM,
    Contrast: {"name": "main", "of": "sft", "against": "base", "figure": "free.named", "regime": "all"},
    HeldOutSpec: {"questions": "q.json", "groups": "g.yaml"},
    CompareSpec: COMPARE,
}
