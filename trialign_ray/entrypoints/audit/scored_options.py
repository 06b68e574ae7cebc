"""Answers of a model in a folder by closed-set scoring: the likeliest of each question's options behind each prompt.

Nothing here needs Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from trialign_ray.config.game import Group, GroupSet, Question, QuestionSet, asked_questions
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.data.dataset import write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.entrypoints.audit.model_folder import model_folder
from trialign_ray.entrypoints.audit.source import AuditedAnswers
from trialign_ray.envs.prompts import Messages, first_turns, refuse_equal, refuse_equal_prompts
from trialign_ray.envs.rows import question_columns
from trialign_ray.errors import DataError, ModelError, naming
from trialign_ray.evaluation.closed_set import ScoredOptions
from trialign_ray.io.storage import Location, atomic_file, locate, writing
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.models.loading import chat_tokens
from trialign_ray.progress import Progress
from trialign_ray.rewards.options import Option, OptionSets, draw_options
from trialign_ray.trainer.option_scores import load_scorer
from trialign_ray.trainer.packing import Tree


@dataclass(frozen=True, slots=True)
class _Asked:
    """One group's prompt for one question, and its options as token ids, end of turn included."""

    question: Question
    group: Group
    messages: Messages
    tree: Tree
    options: tuple[Option, ...]


def answers_of_options(spec: AuditSpec, questions: QuestionSet, groups: GroupSet, progress: Progress) -> AuditedAnswers:
    """For each group and question the option with the highest total log-prob; all log-probs in `options.parquet`.

    All that can be refused is refused before the model is loaded. Raises SpecError, DataError and ModelError.
    """
    sets = _option_sets(spec, questions)
    with naming("groups"):
        refuse_equal_prompts(groups, [questions.by_id[question_id] for question_id in sets.by_question])
    place = model_folder(spec)
    with naming("model"):
        asked = _prompts(questions, groups, sets, chat_tokens(place.model, spec.chat_template_kwargs))
    facts = {"read": spec.read, **place.facts()}
    with naming(place.field):
        scorer = load_scorer(place.model, place.adapter, place.dtype, place.device)
    progress.begin("scoring options", len(asked))
    logp = scorer.logprobs([each.tree for each in asked], progress.advance)
    progress.end()
    folder = locate(spec.runs).child(spec.name)
    total, by_mean = _answers(asked, logp, facts, mean=False), _answers(asked, logp, facts, mean=True)
    write_logs(total, folder.child("answers"), groups.names, overwrite=True)
    _write_scores(asked, logp, folder.child("options.parquet"))
    counts = [len(options) for options in sets.by_question.values()]
    right = [sum(option.right for option in options) for options in sets.by_question.values()]
    return AuditedAnswers(total, facts, closed_set=ScoredOptions(by_mean, counts, right, sets.left_out))


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


def _prompts(questions: QuestionSet, groups: GroupSet, sets: OptionSets, tokens: ChatTokens) -> list[_Asked]:
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
            found.append(_Asked(question, group, asked[group.name], tree, options))
    return found


def _answers(
    asked: Sequence[_Asked], logp: Sequence[Sequence[float]], facts: dict[str, JsonValue], *, mean: bool
) -> pa.Table:
    """The likeliest option of each prompt as rows of the log schema; of several the first, whose text sorts first."""
    rows = []
    for each, logp_o in zip(asked, logp, strict=True):
        lengths = [len(response) if mean else 1 for response in each.tree.responses]
        score_o = [total / length for total, length in zip(logp_o, lengths, strict=True)]
        rows.append(_row(each, score_o.index(max(score_o)), str(facts["model_hash"])))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(asked: _Asked, chosen: int, weights: str) -> dict[str, Any]:
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


def _write_scores(asked: Sequence[_Asked], logp: Sequence[Sequence[float]], target: Location) -> None:
    """One row for each option behind each prompt: its log-prob in nats, and how many tokens share it."""
    rows = [
        {
            "question_id": each.question.question_id,
            "group": each.group.name,
            "option": option.text,
            "right": option.right,
            "logprob": total,
            "tokens": len(response),
        }
        for each, logp_o in zip(asked, logp, strict=True)
        for option, total, response in zip(each.options, logp_o, each.tree.responses, strict=True)
    ]
    with writing(target.uri), atomic_file(target) as file:
        pq.write_table(pa.Table.from_pylist(rows), file)
