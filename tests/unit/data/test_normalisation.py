from __future__ import annotations

from typing import Any

import pytest

from trialign_ray.data.fields import FieldFault
from trialign_ray.data.normalisation import Completer, Completion, Score, Scorer, Tokenize
from trialign_ray.data.readers import RawRow
from trialign_ray.data.validation import row_faults
from trialign_ray.errors import DataError

from .samples import row

PROMPT = [{"role": "system", "content": "Help."}, {"role": "user", "content": "Capital of Peru?"}]
RESPONSE = {"role": "assistant", "content": "Lima."}


class Words:
    """A tokenizer of one token for each word."""

    def prompt(self, messages):
        if messages[0]["role"] != "system":
            raise DataError("the template needs a system message.")
        return [len(message["content"].split()) for message in messages]

    def response(self, text):
        return [*map(len, text.split()), 0]


class SaysLima:
    """A scorer that knows one answer, and settles nothing."""

    def settle(self, row):
        return []

    def notes(self):
        return ()

    def __call__(self, question_id, row):
        if question_id == "unheard-of":
            return None
        if row["response"] == "???":
            raise DataError("nobody can read this.")
        answer = row.get("answer", "").title() or ("Lima" if "Lima" in row["response"] else None)
        truth = float(answer == "Lima") if row.get("kind") == "objective" else None
        return Score(answer, "entity" if answer else "unextracted", truth, 0.25 if "preference" in row else None)


says_lima = SaysLima()


def complete(
    value: dict[str, Any], *, scorer: Scorer | None = None, tokenize: Tokenize | None = None
) -> tuple[dict[str, Any], list[FieldFault]]:
    [found] = Completer(Completion(scorer, tokenize)).rows(RawRow("some/where/social.jsonl", 1, value))
    return found


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in row(**changes).items() if name not in names}


def test_a_whole_row_is_left_as_it_is():
    assert complete(row(), tokenize=Words()) == (row(), [])
    whole = row(answer="Lima")
    assert complete(whole, scorer=says_lima, tokenize=Words()) == (whole, [])


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("protocol", "independent"),
        ("turn", 1),
        ("seed", 0),
        ("split", "train"),
        ("topic", "general"),
        ("model_hash", ""),
        ("peers", []),
        ("source", "social.jsonl"),
        ("sample", 0),
        ("kind", "objective"),
        ("answer_kind", "entity"),
    ],
)
@pytest.mark.parametrize("absent", ["gone", "null"])
def test_an_optional_field_gets_its_documented_default(name, default, absent):
    given = without(name) if absent == "gone" else row(**{name: None})
    found, faults = complete(given)
    assert found[name] == default
    assert row_faults(found) == faults == []


@pytest.mark.parametrize("name", ["question_id", "question", "group", "response", "messages"])
def test_what_has_no_default_stays_missing(name):
    found, _ = complete(without(name))
    assert [fault.field for fault in row_faults(found)] == [name]


def test_no_kind_is_made_up_where_there_are_no_references():
    found, _ = complete(without("kind", "references", "reward_truth"))
    assert [(fault.field, fault.code) for fault in row_faults(found)] == [("kind", "missing")]


def test_samples_are_counted_for_each_prompt():
    completer = Completer(Completion())
    rows = [
        ("q1", "neutral", 1),
        ("q1", "neutral", 1),
        ("q1", "nurse_kenya", 1),
        ("q2", "neutral", 1),
        ("q1", "neutral", 2),
    ]
    samples = []
    for question, group, turn in [*rows, rows[0]]:
        value = without("sample", question_id=question, group=group, turn=turn)
        [(found, _)] = completer.rows(RawRow("a.jsonl", 1, value))
        samples.append(found["sample"])
    assert samples == [0, 1, 0, 0, 0, 2]


def test_messages_that_end_with_the_response_are_split():
    value = without("response", "question", messages=[*PROMPT, RESPONSE])
    found, faults = complete(value)
    assert (found["messages"], found["response"], found["question"]) == (PROMPT, "Lima.", "Capital of Peru?")
    assert faults == row_faults(found) == []
    assert value["messages"][-1] == RESPONSE


def test_a_question_that_is_given_is_kept():
    found, _ = complete(without("response", messages=[*PROMPT, RESPONSE]))
    assert found["question"] == "What is the capital of Peru?"


def test_a_prompt_and_completion_pair_is_a_chat_row():
    value = {**without("response", "question", "messages"), "prompt": PROMPT, "completion": [RESPONSE]}
    found, faults = complete(value)
    assert (found["messages"], found["response"], found["question"]) == (PROMPT, "Lima.", "Capital of Peru?")
    assert faults == row_faults(found) == []


@pytest.mark.parametrize(
    ("prompt", "completion", "field"),
    [
        ("Capital of Peru?", [RESPONSE], "prompt"),
        (PROMPT, "Lima.", "completion"),
        (PROMPT, [], "completion"),
        (PROMPT, [RESPONSE, RESPONSE], "completion"),
        (PROMPT, [{"role": "user", "content": "x"}], "completion"),
    ],
)
def test_a_pair_that_is_no_chat_is_a_fault(prompt, completion, field):
    _, faults = complete({**without("response", "messages"), "prompt": prompt, "completion": completion})
    assert [fault.field for fault in faults] == [field]


def test_a_null_key_of_a_message_is_the_same_as_none():
    nullable = [{**message, "name": None} for message in [*PROMPT, RESPONSE]]
    found, _ = complete(without("response", messages=nullable))
    assert found["messages"] == PROMPT


@pytest.mark.parametrize("last", [{**RESPONSE, "tool_calls": ["x"]}, {"role": "assistant"}])
def test_a_response_with_more_or_less_than_its_content_is_not_cut_to_fit(last):
    found, _ = complete(without("response", messages=[*PROMPT, last]))
    assert "messages" in [fault.field for fault in row_faults(found)]


def test_missing_token_ids_are_computed():
    found, faults = complete(without("prompt_ids", "response_ids", "behaviour_logprobs"), tokenize=Words())
    assert (found["prompt_ids"], found["response_ids"]) == ([1, 3], [5, 0])
    assert faults == row_faults(found) == []


def test_given_token_ids_are_kept():
    found, _ = complete(without("prompt_ids"), tokenize=Words())
    assert (found["prompt_ids"], found["response_ids"]) == ([1, 3], [7, 8])


def test_a_prompt_that_the_template_refuses_is_a_fault():
    _, faults = complete(without("prompt_ids", messages=PROMPT[1:]), tokenize=Words())
    assert [fault.field for fault in faults] == ["messages"]
    assert "needs a system message" in faults[0].reason


def test_a_bad_prompt_is_not_tokenised():
    found, faults = complete(without("prompt_ids", messages=[{"role": 1}]), tokenize=Words())
    assert "prompt_ids" not in found
    assert faults == []


def test_missing_answers_and_rewards_are_scored():
    found, faults = complete(without("answer", "answer_kind", "reward_truth", "reward_preference"), scorer=says_lima)
    scored = [found[name] for name in ("answer", "answer_kind", "reward_truth", "reward_preference")]
    assert scored == ["Lima", "entity", 1.0, 0.25]
    assert faults == row_faults(found) == []


def test_a_given_answer_is_the_one_that_is_judged():
    found, _ = complete(without("reward_truth", answer="Cusco"), scorer=says_lima)
    assert (found["answer"], found["reward_truth"], found["reward_preference"]) == ("Cusco", 0.0, 0.5)


def test_rewards_that_are_given_stand():
    found, _ = complete(row(answer="Cusco", reward_truth=1.0), scorer=says_lima)
    assert (found["reward_truth"], found["reward_preference"]) == (1.0, 0.5)


@pytest.mark.parametrize(("scorer", "name"), [(says_lima, "Lima"), (None, "lima")])
def test_a_given_answer_has_one_name_however_it_is_spelled(scorer, name):
    spelled = [complete(row(answer=answer), scorer=scorer)[0]["answer"] for answer in ("Lima", "LIMA", "lima")]
    assert spelled == [name] * 3


def test_an_answer_that_contradicts_its_class_stays_for_the_checks():
    found, _ = complete(row(answer="Lima", answer_kind="refusal"), scorer=says_lima)
    assert [(fault.field, fault.code) for fault in row_faults(found)] == [("answer", "conflict")]


def test_a_subjective_row_gets_an_answer_and_no_truth():
    value = without("answer", "answer_kind", "reward_truth", "references", kind="subjective")
    found, faults = complete(value, scorer=says_lima)
    assert (found["answer"], found["reward_truth"]) == ("Lima", None)
    assert faults == row_faults(found) == []


def test_a_row_that_cannot_be_scored_is_a_fault():
    _, faults = complete(without("reward_truth", response="???"), scorer=says_lima)
    assert [fault.field for fault in faults] == ["response"]
    assert "nobody can read this" in faults[0].reason


def test_a_question_that_the_scorer_does_not_know_needs_a_whole_row():
    _, faults = complete(without("reward_truth", question_id="unheard-of"), scorer=says_lima)
    assert [fault.field for fault in faults] == ["question_id"]
    assert "is not in the question set; add the question" in faults[0].reason
    whole = row(question_id="unheard-of")
    assert complete(whole | {"answer": "LIMA"}, scorer=says_lima) == (whole, [])


def test_fields_are_only_left_behind_by_name_and_are_counted():
    completer = Completer(Completion(ignore=frozenset({"persona", "seed"})))
    for at, value in enumerate([row(persona="nurse"), row(persona=None), row(persona="pupil", mood="good")], start=1):
        [(found, _)] = completer.rows(RawRow("a.jsonl", at, value))
        assert "persona" not in found
        assert found["seed"] == 0
    assert completer.ignored == {"persona": 2, "seed": 3}
    assert found["mood"] == "good"
