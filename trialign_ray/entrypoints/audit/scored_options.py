"""Answers of a model in a folder by closed-set scoring: the likeliest of each question's options behind each prompt.

Nothing here needs Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from trialign_ray.config.base import content_sha256
from trialign_ray.config.game import GroupSet, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.begun import Begun
from trialign_ray.data.dataset import write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.entrypoints.audit.model_folder import model_folder
from trialign_ray.entrypoints.audit.option_prompts import (
    SCORES,
    AskedOptions,
    Batch,
    ScorerLoading,
    Way,
    score_here,
)
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.entrypoints.versions import versions
from trialign_ray.envs.prompts import first_turns, refuse_equal, refuse_equal_prompts
from trialign_ray.envs.rows import question_columns
from trialign_ray.errors import DataError, ModelError, naming
from trialign_ray.evaluation.closed_set import ScoredOptions
from trialign_ray.io.storage import Location, atomic_file, locate, writing
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.loading import chat_tokens, tokenizer_hash
from trialign_ray.progress import Progress
from trialign_ray.rewards.options import OptionSets, draw_options
from trialign_ray.trainer.packing import Tree

_SCORED_BY = ("read", "split", "options", "seed", "questions_per_batch", "chat_template_kwargs")
"""Fields that the scores depend on, besides those that stand in the identity by what they name."""


def answers_of_options(
    spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress, way: Way = score_here
) -> AuditedAnswers:
    """For each group and question the option with the highest total log-prob; all log-probs in `options.parquet`.

    All that can be refused is refused before the model is loaded. Batches that an earlier, killed call has finished are
    not scored again; they lie in `.answers.begun` of the run's folder. way: where they are scored. Raises SpecError,
    DataError, ModelError, ClusterError, and CheckpointError where another audit was begun in that folder.
    """
    sets = _option_sets(spec, questions)
    with naming("groups"):
        refuse_equal_prompts(groups, [questions.by_id[question_id] for question_id in sets.by_question])
    place = model_folder(spec, spec.gpus_per_worker)
    with naming("model"):
        asked = _prompts(questions, groups, sets, chat_tokens(place.model, spec.chat_template_kwargs))
    facts = {"read": spec.read, **place.facts()}
    loading = ScorerLoading(str(spec.model), spec.adapter, place.dtype, place.device)
    size = spec.questions_per_batch * len(groups.names)
    batches = {number: asked[start : start + size] for number, start in enumerate(range(0, len(asked), size))}
    folder = locate(spec.runs).child(spec.name)
    begun = Begun.beside(folder.child("answers"))
    read_by = {**facts, "tokenizer": tokenizer_hash(place.model)}
    with begun.held(_identity(spec, questions, groups, read_by)):
        begun.complete(batches, partial(_shown, way, loading), progress)
        scores = pa.concat_tables([begun.read(number, SCORES) for number in batches])
        logp = _by_prompt(asked, scores)
        total, by_mean = _answers(asked, logp, facts, mean=False), _answers(asked, logp, facts, mean=True)
        write_logs(total, folder.child("answers"), groups.names, overwrite=True)
        _write_scores(scores, folder.child("options.parquet"))
    counts = [len(options) for options in sets.by_question.values()]
    right = [sum(option.right for option in options) for options in sets.by_question.values()]
    return AuditedAnswers(total, facts, closed_set=ScoredOptions(by_mean, counts, right, sets.left_out))


def _shown(
    way: Way, loading: ScorerLoading, batches: Mapping[int, Batch], progress: Progress
) -> Iterator[tuple[int, pa.Table]]:
    """Nothing is loaded where nothing is left to score."""
    if not batches:
        return
    progress.begin("scoring options", sum(map(len, batches.values())))
    yield from way(loading, batches, progress)
    progress.end()


def _identity(
    spec: AuditSpec, questions: QuestionSet, groups: GroupSet, facts: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """All that the scores depend on; in another precision or on another device they round otherwise."""
    return {
        **spec.model_dump(mode="json", include=set(_SCORED_BY)),
        **{"questions": content_sha256(questions), "groups": content_sha256(groups)},
        **{"model": facts["model_hash"], "adapter": facts["adapter_hash"]},
        **{name: facts[name] for name in ("tokenizer", "dtype", "device")},
        "version": versions()["trialign-ray"],
    }


def _by_prompt(asked: Batch, scores: pa.Table) -> list[list[float]]:
    """Log-probs of each prompt's options, in the order of `asked`, in which the scores stand."""
    logp = iter(scores["logprob"].to_pylist())
    return [list(islice(logp, len(each.options))) for each in asked]


def _option_sets(spec: AuditSpec, questions: QuestionSet) -> OptionSets:
    asked = asked_questions(questions, spec.split, spec.questions)
    with naming("questions"):
        sets = draw_options(asked, questions, spec.options, spec.seed)
        if not sets.by_question:
            raise DataError(
                f"{spec.questions}: no question of split '{spec.split}' has options to score. Give questions a "
                "vocabulary or 'options', or let the model answer freely (--read generate)."
            )
    return sets


def _prompts(questions: QuestionSet, groups: GroupSet, sets: OptionSets, tokens: ChatTokens) -> list[AskedOptions]:
    if tokens.opened:
        raise ModelError(
            f"the chat template opens '{tokens.opened}' in the prompt, so options would be scored as the beginning of "
            "reasoning. Let it close the block (--template enable_thinking=false, where the template reads that), or "
            "let the model answer freely (--read generate)."
        )
    found = []
    for question_id, options in sets.by_question.items():
        question = questions.by_id[question_id]
        responses = [tokens.response(option.text) for option in options]
        asked = first_turns(groups, question)
        prompts = {name: tuple(tokens.prompt(messages)) for name, messages in asked.items()}
        refuse_equal(question, prompts, "The model's chat template drops what tells them apart; correct it.")
        for group in groups.groups:
            tree = Tree(prompts[group.name], responses)
            found.append(AskedOptions(question, group, asked[group.name], tree, options))
    return found


def _answers(asked: Batch, logp: Sequence[Sequence[float]], facts: dict[str, JsonValue], *, mean: bool) -> pa.Table:
    """The likeliest option of each prompt as rows of the log schema; of several the first, whose text sorts first."""
    rows = []
    for each, logp_o in zip(asked, logp, strict=True):
        lengths = [len(response) if mean else 1 for response in each.tree.responses]
        score_o = [total / length for total, length in zip(logp_o, lengths, strict=True)]
        rows.append(_row(each, score_o.index(max(score_o)), str(facts["model_hash"])))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(asked: AskedOptions, chosen: int, weights: str) -> dict[str, Any]:
    question, option = asked.question, asked.options[chosen]
    return {
        **question_columns(question),
        "group": asked.group.name,
        "protocol": "independent",
        "turn": 1,
        "sample": 0,
        "messages": asked.messages,
        "prompt_ids": asked.tree.prompt,
        "response": option.text,
        "response_ids": asked.tree.responses[chosen],
        "answer": option.name,
        "answer_kind": "entity",
        "reward_truth": float(option.right),
        "peers": [],
        "seed": 0,
        "model_hash": weights,
    }


def _write_scores(scores: pa.Table, target: Location) -> None:
    with writing(target.uri), atomic_file(target) as file:
        pq.write_table(scores, file)
