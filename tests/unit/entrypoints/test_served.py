"""Audits and collections of a server, and of the files of a batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from tests.chat_server import ChatServer, Reply, said
from tests.tiny import tiny_tokenizer
from tests.world import World
from trialign_ray.config.losses import LOSSES
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.data.dataset import read_logs, write_logs
from trialign_ray.data.schema import SCHEMA
from trialign_ray.data.validation import validate_logs
from trialign_ray.entrypoints.audit import audit
from trialign_ray.entrypoints.collect import collect
from trialign_ray.entrypoints.questions import write_prompts
from trialign_ray.errors import DataError, MissingAnswersError, ModelError, SpecError
from trialign_ray.inference.base import Sampling
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.models.chat_tokens import ChatTokens
from trialign_ray.progress import Silent
from trialign_ray.trainer.local import LocalTraining
from trialign_ray.trainer.resolve import resolve

Answer = Callable[[Mapping[str, Any], int], Reply]
CITIES = {"france": "paris", "peru": "lima", "egypt": "cairo", "kenya": "nairobi"}


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def knows(body: Mapping[str, Any], number: int) -> Reply:
    """Right for all but the professor, whose answers are cut."""
    city = next(city for country, city in CITIES.items() if country in body["messages"][-1]["content"])
    if "professor" in body["messages"][0]["content"]:
        return said("that is a long", finish="length")
    return said(f"hey , it is {city} .")


def game(world: World, tmp_path: Path) -> dict[str, Any]:
    return {"name": "a", "questions": world.questions, "groups": world.groups}


def audit_spec(world: World, tmp_path: Path, **changes: Any) -> AuditSpec:
    fields = {"runs": str(tmp_path / "runs"), "bootstrap": 100, "split": "train"}
    return AuditSpec.model_validate(game(world, tmp_path) | fields | changes)


def served(server: ChatServer, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {"url": server.url, "model": "m", "cache": str(tmp_path / "cache"), "concurrency": 2, **changes}


def figures(report: Any) -> Any:
    return report.audit.model_dump()


def test_an_audit_of_a_server_and_of_the_answers_that_it_leaves_are_the_same(world: World, tmp_path: Path) -> None:
    with ChatServer(knows) as server:
        first = audit(audit_spec(world, tmp_path, endpoint=served(server, tmp_path)))
        assert server.requests == len({json.dumps(body) for body in server.bodies})
        asked = server.requests
        again = audit(audit_spec(world, tmp_path, endpoint=served(server, tmp_path, replay=True)))
        assert server.requests == asked
    answers = str(tmp_path / "runs" / "a" / "answers.jsonl")
    read = audit(audit_spec(world, tmp_path, name="b", answers=answers))
    assert figures(first) == figures(again) == figures(read)
    accuracy = {group: figure.value for group, figure in first.audit.accuracy_by_group.items() if figure}
    assert accuracy == {"neutral": 1.0, "farmer": 1.0, "professor": 0.0}


def test_a_report_says_who_answered_and_how_responses_ended(world: World, tmp_path: Path) -> None:
    notes = Notes()
    with ChatServer(knows) as server:
        report = audit(audit_spec(world, tmp_path, endpoint=served(server, tmp_path)), notes)
        assert report.run["endpoint"] == server.url
    assert (report.run["endpoint_model"], report.run["endpoint_models"]) == ("m", ["served"])
    assert report.run["finish_reasons"] == {"stop": 8, "length": 4}
    assert notes.lines == ["4 of 12 responses did not end by themselves: cut at the most tokens (--max-new-tokens)"]


def test_reasoning_that_the_template_opens_and_the_length_cuts_is_no_answer(world: World, tmp_path: Path) -> None:
    def thinks(body: Mapping[str, Any], number: int) -> Reply:
        reply = json.loads(knows(body, number).body)["choices"][0]
        text = reply["message"]["content"]
        return said("so paris", "length") if reply["finish_reason"] == "length" else said(f"hm .</think>{text}")

    notes = Notes()
    with ChatServer(thinks) as server:
        report = audit(audit_spec(world, tmp_path, endpoint=served(server, tmp_path)), notes)
    named = report.audit.named_by_group
    assert named is not None
    assert {group: figure.value for group, figure in named.items() if figure}["professor"] == 0
    assert notes.lines[-1] == "4 of 12 responses do not come to the end of their reasoning, and hold no answer"


def shares(by_group: Any) -> dict[str, float]:
    return {group: figure.value for group, figure in by_group.items()}


def test_without_any_closing_tag_the_user_says_what_the_template_opens(world: World, tmp_path: Path) -> None:
    notes = Notes()
    with ChatServer(lambda body, number: said("so it could be paris")) as server:
        named = audit(audit_spec(world, tmp_path, endpoint=served(server, tmp_path))).audit.named_by_group
        opened = audit(audit_spec(world, tmp_path, endpoint=served(server, tmp_path), opens="<think>"), notes)
    assert set(shares(named).values()) == {1.0}
    assert set(shares(opened.audit.named_by_group).values()) == {0.0}
    assert notes.lines == ["12 of 12 responses do not come to the end of their reasoning, and hold no answer"]
    read = audit(audit_spec(world, tmp_path, name="b", answers=str(tmp_path / "runs" / "a" / "answers.jsonl")))
    assert figures(read) == figures(opened)


def test_the_tags_of_the_question_set_tell_what_the_template_opens(world: World, tmp_path: Path) -> None:
    def thinks(body: Mapping[str, Any], number: int) -> Reply:
        farmer = "farmer" in body["messages"][0]["content"]
        return said("so paris", "length") if farmer else said(f"hm >> {number}")

    questions = yaml.safe_load(Path(world.questions).read_text()) | {"reasoning_tags": {"<<": ">>"}}
    (tmp_path / "tags.yaml").write_text(yaml.safe_dump(questions))
    with ChatServer(thinks) as server:
        endpoint = served(server, tmp_path)
        report = audit(audit_spec(world, tmp_path, endpoint=endpoint, questions=str(tmp_path / "tags.yaml")))
    assert shares(report.audit.named_by_group)["farmer"] == 0.0


def test_several_samples_are_requests_with_seeds_of_their_own(world: World, tmp_path: Path) -> None:
    with ChatServer(lambda body, number: said(f"{number}")) as server:
        spec = audit_spec(world, tmp_path, endpoint=served(server, tmp_path, concurrency=1), samples=3, temperature=0.5)
        report = audit(spec)
        assert report.audit.samples == 3
        assert server.requests == 4 * 3 * 3
        assert len({body["seed"] for body in server.bodies}) == server.requests
        assert {body["temperature"] for body in server.bodies} == {0.5}
        texts = [json.loads(line)["response"] for line in (tmp_path / "runs/a/answers.jsonl").read_text().splitlines()]
        assert sorted(map(int, texts)) == list(range(36))


def test_template_arguments_and_further_fields_reach_the_server(world: World, tmp_path: Path) -> None:
    with ChatServer(knows) as server:
        endpoint = served(server, tmp_path, body={"max_tokens": None, "max_completion_tokens": 9, "top_p": 0.5})
        audit(audit_spec(world, tmp_path, endpoint=endpoint, chat_template_kwargs={"enable_thinking": False}))
        (body,) = {json.dumps({n: v for n, v in body.items() if n != "messages"}) for body in server.bodies}
    assert json.loads(body) == {
        **{"path": "/v1/chat/completions", "model": "m", "temperature": 0.0, "max_completion_tokens": 9},
        **{"top_p": 0.5, "chat_template_kwargs": {"enable_thinking": False}},
    }


def test_a_replay_that_lacks_answers_is_refused_before_a_report_is_written(world: World, tmp_path: Path) -> None:
    spec = audit_spec(world, tmp_path, endpoint={"url": "http://127.0.0.1:9/v1", "model": "m", "replay": True,
                                                 "cache": str(tmp_path / "none")})  # fmt: skip
    with pytest.raises(MissingAnswersError, match=r"field 'endpoint': .*none: 12 of 12 answers are missing, the first "
                                             r"to question '0-france' of group 'neutral', sample 0"):  # fmt: skip
        audit(spec)
    assert not (tmp_path / "runs" / "a" / "report.json").exists()


def collect_spec(world: World, tmp_path: Path, server: ChatServer, **changes: Any) -> CollectSpec:
    endpoint = served(server, tmp_path, **changes.pop("endpoint", {}))
    fields = {"model": world.model, "output": str(tmp_path / "logs"), "samples": 1, "endpoint": endpoint}
    return CollectSpec.model_validate(game(world, tmp_path) | fields | changes)


def test_logs_of_a_server_without_ids_have_those_of_the_tokenizer_and_no_log_probs(
    world: World, tmp_path: Path
) -> None:
    with ChatServer(knows) as server:
        collect(collect_spec(world, tmp_path, server))
    assert validate_logs(str(tmp_path / "logs")).ok
    tokens = ChatTokens(tiny_tokenizer())
    rows = read_logs(str(tmp_path / "logs")).to_pylist()
    assert len(rows) == 12
    for row in rows:
        assert row["prompt_ids"] == tokens.prompt(row["messages"])
        ended = row["group"] != "professor"
        assert row["response_ids"] == tokens.response(row["response"])[: None if ended else -1]
        assert row["behaviour_logprobs"] is None


def with_ids(body: Mapping[str, Any], number: int) -> Reply:
    """As vLLM answers `return_token_ids` and `logprobs`."""
    tokens = ChatTokens(tiny_tokenizer())
    reply = json.loads(knows(body, number).body)
    choice = reply["choices"][0]
    choice["token_ids"] = tokens.response(choice["message"]["content"])
    choice["logprobs"] = {"content": [{"token": "?", "logprob": -0.25} for _ in choice["token_ids"]]}
    return Reply(json.dumps(reply | {"prompt_token_ids": tokens.prompt(body["messages"])}).encode())


def test_logs_of_a_server_with_ids_have_those_and_its_log_probs(world: World, tmp_path: Path) -> None:
    with ChatServer(with_ids) as server:
        collect(collect_spec(world, tmp_path, server, endpoint={"logprobs": "processed"}))
        assert all(body["logprobs"] is body["return_token_ids"] is True for body in server.bodies)
    rows = read_logs(str(tmp_path / "logs")).to_pylist()
    assert validate_logs(str(tmp_path / "logs")).ok
    assert {tuple(row["behaviour_logprobs"]) for row in rows} == {(-0.25,) * len(row["response_ids"]) for row in rows}


def test_a_server_that_gives_none_where_they_were_expected_is_told_of(world: World, tmp_path: Path) -> None:
    notes = Notes()
    with ChatServer(knows) as server:
        collect(collect_spec(world, tmp_path, server, endpoint={"logprobs": "processed"}), notes)
    assert notes.lines == [
        "12 of 12 responses came without log-probs and token ids; the ids of these are the tokenizer's."
    ]


def test_the_folder_of_another_model_is_refused(world: World, tmp_path: Path) -> None:
    def other(body: Mapping[str, Any], number: int) -> Reply:
        reply = json.loads(with_ids(body, number).body)
        return Reply(json.dumps(reply | {"prompt_token_ids": [1, 2, 3]}).encode())

    with ChatServer(other) as server, pytest.raises(ModelError, match="the server's prompt has other token ids"):
        collect(collect_spec(world, tmp_path, server, endpoint={"logprobs": "processed"}))
    assert not (tmp_path / "logs").exists()


def test_raw_log_probs_are_those_of_what_was_sampled_at_temperature_1_only() -> None:
    fields = {"name": "a", "model": "m", "questions": "q", "groups": "g", "output": "o"}
    endpoint = {"url": "http://h/v1", "model": "m", "logprobs": "raw"}
    for temperature in (0, 1):
        CollectSpec.model_validate(fields | {"endpoint": endpoint, "temperature": temperature})
    with pytest.raises(ValueError, match="logprobs 'raw' are those before temperature"):
        CollectSpec.model_validate(fields | {"endpoint": endpoint, "temperature": 0.7})


def test_responses_without_a_token_are_left_out_and_counted(world: World, tmp_path: Path) -> None:
    notes = Notes()
    with ChatServer(lambda body, number: said("", "length") if number == 3 else knows(body, number)) as server:
        manifest = collect(collect_spec(world, tmp_path, server, endpoint={"concurrency": 1}), notes)
    assert manifest.rows == 11
    assert len(notes.lines) == 1
    assert "1 of 12 responses left out, the first: question" in notes.lines[0]


def batch(folder: Path, requests: Path, failing: dict[int, str] | None = None, name: str = "out.jsonl") -> Path:
    """What a batch service makes of `requests`, in another order."""
    lines = []
    for at, text in enumerate(requests.read_text().splitlines()):
        request = json.loads(text)
        line = {"id": f"batch_req_{at}", "custom_id": request["custom_id"], "error": None}
        if at in (failing or {}):
            line |= {"response": None, "error": {"code": (failing or {})[at], "message": "?"}}
        else:
            body = json.loads(knows(request["body"], at).body)
            line |= {"response": {"status_code": 200, "request_id": "r", "body": body}}
        lines.append(json.dumps(line))
    with (folder / name).open("a") as file:
        file.write("".join(line + "\n" for line in reversed(lines)))
    return folder / name


def prompts(world: World, tmp_path: Path, **changes: Any) -> Path:
    target = tmp_path / f"prompts-{len(list(tmp_path.glob('prompts-*')))}.jsonl"
    fields: dict[str, Any] = {"split": "train", "seed": 0} | changes
    write_prompts(str(target), world.questions, world.groups, "m", Sampling(48), **fields)
    return target


def test_a_batch_asks_what_a_server_is_asked_and_its_audit_is_the_same(world: World, tmp_path: Path) -> None:
    requests = prompts(world, tmp_path)
    with ChatServer(knows) as server:
        first = audit(audit_spec(world, tmp_path, endpoint=served(server, tmp_path)))
        sent = [{name: value for name, value in body.items() if name != "path"} for body in server.bodies]
    written = [json.loads(line)["body"] for line in requests.read_text().splitlines()]
    assert sorted(map(json.dumps, written)) == sorted(map(json.dumps, sent))
    found = audit(audit_spec(world, tmp_path, name="b", answers=str(batch(tmp_path, requests))))
    assert figures(found) == figures(first)
    assert found.run["finish_reasons"] == {"stop": 8, "length": 4}


def test_what_failed_is_counted_by_code_and_a_second_batch_of_these_alone_completes_the_file(
    world: World, tmp_path: Path
) -> None:
    file = batch(tmp_path, prompts(world, tmp_path), {1: "rate_limit_exceeded", 5: "batch_expired", 6: "batch_expired"})
    spec, notes = audit_spec(world, tmp_path, answers=str(file)), Notes()
    with pytest.raises(DataError, match=r"3 requests of the batch failed: 2 batch_expired, 1 rate_limit_exceeded\. "
                                        r"Write these alone with .*--unanswered"):  # fmt: skip
        audit(spec)
    rest = prompts(world, tmp_path, unanswered=str(file))
    assert len(rest.read_text().splitlines()) == 3
    report = audit(audit_spec(world, tmp_path, answers=str(batch(tmp_path, rest))), notes)
    assert report.audit.questions == 4
    with pytest.raises(DataError, match=r"out\.jsonl: answers all\. Audit it"):
        prompts(world, tmp_path, unanswered=str(file))


def test_a_file_that_is_there_twice_is_told_of_and_counts_once(world: World, tmp_path: Path) -> None:
    requests, notes = prompts(world, tmp_path), Notes()
    batch(tmp_path, requests)
    report = audit(audit_spec(world, tmp_path, answers=str(batch(tmp_path, requests))), notes)
    assert (report.audit.samples, notes.lines[0]) == (1, "12 rows left out: an earlier one answers the same")


@pytest.mark.parametrize(
    ("custom_id", "said_of_it"),
    [
        ("9-atlantis/neutral/0", "question '9-atlantis' is not in the"),
        ("0-france/poet/0", "group 'poet' is not in the"),
    ],
)
def test_a_batch_of_another_game_is_refused(world: World, tmp_path: Path, custom_id: str, said_of_it: str) -> None:
    file = batch(tmp_path, prompts(world, tmp_path))
    file.write_text(file.read_text().replace("0-france/neutral/0", custom_id))
    with pytest.raises(DataError, match=said_of_it):
        audit(audit_spec(world, tmp_path, answers=str(file)))


@pytest.mark.parametrize(("kept", "lacking"), [(3, "9 of 12 requests"), (10, "2 of 12 requests")])
def test_a_batch_that_lacks_answers_is_refused_with_the_way_to_go_on(
    world: World, tmp_path: Path, kept: int, lacking: str
) -> None:
    file = batch(tmp_path, prompts(world, tmp_path))
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:kept]))
    with pytest.raises(DataError, match=rf"out\.jsonl: {lacking} .* --unanswered FILE"):
        audit(audit_spec(world, tmp_path, answers=str(file)))
    report = audit(
        audit_spec(world, tmp_path, answers=str(batch(tmp_path, prompts(world, tmp_path, unanswered=str(file)))))
    )
    assert report.audit.questions == 4


def test_a_batch_whose_group_was_changed_since_is_refused(world: World, tmp_path: Path) -> None:
    file = batch(tmp_path, prompts(world, tmp_path))
    changed = World(tmp_path)
    Path(changed.questions).write_bytes(Path(world.questions).read_bytes())
    Path(changed.groups).write_text(Path(world.groups).read_text().replace("farmer .", "farmer in peru ."))
    said_of_it = r"out\.jsonl: question '.*' of group 'farmer' .* has changed since"
    with pytest.raises(DataError, match=said_of_it):
        audit(audit_spec(changed, tmp_path, answers=str(file)))
    with pytest.raises(DataError, match=said_of_it):
        prompts(changed, tmp_path, unanswered=str(file))


@pytest.mark.parametrize("field", [{"map": {"response": "output"}}, {"ignore": ["id"]}])
def test_how_to_read_rows_is_refused_for_a_batch(world: World, tmp_path: Path, field: dict[str, Any]) -> None:
    file = batch(tmp_path, prompts(world, tmp_path))
    with pytest.raises(SpecError, match=r"'map' and 'ignore' .* leave them out"):
        audit(audit_spec(world, tmp_path, answers=str(file), **field))


def test_a_batch_of_another_split_is_refused(world: World, tmp_path: Path) -> None:
    file = batch(tmp_path, prompts(world, tmp_path))
    with pytest.raises(DataError, match=r"no row answers a question of split 'heldout'\. Choose another"):
        audit(audit_spec(world, tmp_path, answers=str(file), split="heldout"))


def test_prompts_do_not_replace_a_file_unless_told_to(world: World, tmp_path: Path) -> None:
    target = prompts(world, tmp_path)
    arguments = (str(target), world.questions, world.groups, "m", Sampling(48))
    with pytest.raises(DataError, match="exists already"):
        write_prompts(*arguments)
    assert write_prompts(*arguments, overwrite=True) == 6


def half_right(body: Mapping[str, Any], number: int) -> Reply:
    """The farmer knows; the others say Lima whatever is asked."""
    return knows(body, number) if "farmer" in body["messages"][0]["content"] else said("hey , it is lima .")


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_logs_without_log_probs_train_as_logs_with_them(world: World, tmp_path: Path, loss: str) -> None:
    with ChatServer(half_right) as server:
        collect(collect_spec(world, tmp_path, server, samples=2))
    without = str(tmp_path / "logs")
    rows = read_logs(without).to_pylist()
    assert all(row["behaviour_logprobs"] is None for row in rows)
    told = [row | {"behaviour_logprobs": [-1.5] * len(row["response_ids"])} for row in rows]
    table = pa.Table.from_pylist(told, schema=SCHEMA)
    write_logs(table, tmp_path / "told", ("neutral", "farmer", "professor"))
    assert trained(world, without, loss) == trained(world, str(tmp_path / "told"), loss)


def trained(world: World, logs: str, loss: str) -> list[float]:
    """The losses of two steps."""
    learner = {"workers": 1, "dtype": "float32"}
    spec = world.train_spec("here", logs=logs, algorithm={"loss": {"name": loss}}, learner=learner, epochs=1)
    steps = LocalTraining.of(resolve(spec, RunFolder.of(spec))).steps()
    losses = [float(step.outputs.loss.detach()) for step in steps]
    assert len(losses) == 2
    assert any(losses)
    return losses
