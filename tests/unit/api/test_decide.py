"""The decision about one job, for every combination of what is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialign_api.backend import RayStatus, Record
from trialign_api.reconcile.classify import classify
from trialign_api.reconcile.decide import Act, JobView, Observation, Patience, decide
from trialign_api.states import ENDED, MOVES, ON_RAY, Status
from trialign_ray import errors
from trialign_ray.errors import LockedError, TrialignError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = Patience(grace=timedelta(seconds=60), outage=timedelta(minutes=30))

views = st.builds(
    JobView,
    status=st.sampled_from(sorted(ON_RAY)),
    retries_left=st.integers(0, 3),
    ours=st.booleans(),
    missing_since=st.none() | st.timedeltas(timedelta(0), timedelta(hours=1)).map(lambda ago: NOW - ago),
)
records = st.builds(
    Record,
    submission_id=st.just("job-a1"),
    status=st.sampled_from(sorted(RayStatus)),
    message=st.sampled_from(["", "ActorDiedError", "CUDA out of memory", "odd"]),
    exit_code=st.sampled_from([None, 0, 1, 2, 3, 137, 143]),
)
observations = st.builds(
    Observation, record=st.none() | records, reachable=st.booleans(), log_tail=st.just([]), now=st.just(NOW)
).map(lambda observation: observation if observation.record is None else Observation(observation.record, True, [], NOW))


@given(views, observations)
def test_a_decision_is_a_move_that_the_state_machine_has(view: JobView, observation: Observation) -> None:
    decision = decide(view, observation, PATIENCE)
    assert decision.to is None or decision.to in MOVES[view.status]
    assert decision.retry == (decision.to is Status.QUEUED)


@given(views, observations)
def test_only_what_ray_does_not_hold_is_submitted_and_only_when_ray_answers(
    view: JobView, observation: Observation
) -> None:
    if decide(view, observation, PATIENCE).act is Act.SUBMIT:
        assert observation.record is None
        assert observation.reachable
        assert view.ours
        assert view.status is Status.STARTING


@given(views, observations)
def test_a_job_that_ended_on_ray_never_stays_as_it_is(view: JobView, observation: Observation) -> None:
    if observation.record is not None and observation.record.status.ended:
        decision = decide(view, observation, PATIENCE)
        assert decision.to in ENDED | {Status.QUEUED}
        assert decision.retry <= (view.retries_left > 0)


@given(views, observations)
def test_a_job_being_cancelled_is_never_tried_again(view: JobView, observation: Observation) -> None:
    if view.status is Status.CANCELLING:
        decision = decide(view, observation, PATIENCE)
        assert decision.to in (None, Status.CANCELLED, Status.SUCCEEDED)
        assert decision.act is not Act.SUBMIT


@given(views)
def test_a_job_is_given_up_after_the_grace_where_ray_answers_and_after_the_outage_where_it_does_not(
    view: JobView,
) -> None:
    gone = NOW - (view.missing_since or NOW)
    for reachable, limit in ((True, PATIENCE.grace), (False, PATIENCE.outage)):
        decision = decide(view, Observation(None, reachable, [], NOW), PATIENCE)
        if view.status is Status.RUNNING:
            assert (decision.error_code == "cluster_lost") == (view.missing_since is not None and gone >= limit)


@pytest.mark.parametrize("status", [Status.RUNNING, Status.STARTING])
@pytest.mark.parametrize("reachable", [True, False])
def test_an_outage_counts_for_the_outage_alone(status: Status, reachable: bool) -> None:
    """Ray that has just come back, or gone, has its whole time."""
    view = JobView(status, 0, True, NOW - timedelta(hours=1))
    decision = decide(view, Observation(None, reachable, [], NOW, since=NOW - timedelta(seconds=30)), PATIENCE)
    assert decision.to is None
    assert (decision.act is Act.SUBMIT) == (status is Status.STARTING and reachable)


def test_a_submission_that_ray_never_takes_is_given_up_too() -> None:
    for ago, act, code in ((29, Act.SUBMIT, None), (31, Act.NOTHING, "cluster_unavailable")):
        view = JobView(Status.STARTING, 0, True, NOW - timedelta(minutes=ago))
        decision = decide(view, Observation(None, True, [], NOW), PATIENCE)
        assert (decision.act, decision.error_code) == (act, code)


@pytest.mark.parametrize(
    ("exit_code", "text", "code"),
    [
        (2, "", "bad_spec"),
        (3, "", "bad_data"),
        (4, "", "bad_model"),
        (8, "", "gate_failed"),
        (137, "", "out_of_memory"),
        (143, "", "worker_died"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "out_of_memory"),
        (1, "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory", "out_of_memory"),
        (1, "ray.exceptions.ActorDiedError: The actor died unexpectedly", "worker_died"),
        (1, "ValueError: x", "error"),
        (None, "", "error"),
    ],
)
def test_failures_are_named_by_exit_status_and_log(exit_code: int | None, text: str, code: str) -> None:
    assert classify(Record("s", RayStatus.FAILED, exit_code=exit_code), [text]) == code
    assert classify(Record("s", RayStatus.FAILED, message=text, exit_code=exit_code), []) == code


@pytest.mark.parametrize(
    ("log_tail", "reason"),
    [
        (["step 1", "bad_data: logs/a.jsonl, row 3: no group. Add it.", "at exit"], "bad_data: logs/a.jsonl, row 3"),
        (["note: nothing"], "Job entrypoint command failed with exit code 3"),
        ([], "Job entrypoint command failed with exit code 3"),
    ],
)
def test_the_reason_is_what_the_job_said_or_else_what_ray_says(log_tail: list[str], reason: str) -> None:
    record = Record("s", RayStatus.FAILED, message="Job entrypoint command failed with exit code 3\nmore", exit_code=3)
    found = decide(JobView(Status.RUNNING, 0, True, None), Observation(record, True, log_tail, NOW), PATIENCE)
    assert found.message.startswith(reason)
    assert "more" not in found.message


def test_a_dead_supervisor_is_a_dead_worker() -> None:
    record = Record("s", RayStatus.FAILED, error_type="JobErrorType.JOB_SUPERVISOR_ACTOR_DIED")
    assert classify(record, []) == "worker_died"


def test_an_attempt_that_meets_the_process_of_the_one_before_it_is_tried_again() -> None:
    """A head that is lost may be back before the last process of its job has ended."""
    record = Record("s", RayStatus.FAILED, exit_code=LockedError.exit_status)
    told = ["locked: runs/a: run is locked by another process; wait for it to finish."]
    for left, to in ((1, Status.QUEUED), (0, Status.FAILED)):
        found = decide(JobView(Status.RUNNING, left), Observation(record, True, told, NOW), PATIENCE)
        assert (found.to, found.error_code, found.message) == (to, "locked", told[0])


def known_errors(kind: type[TrialignError] = TrialignError) -> list[type[TrialignError]]:
    """Every class of the library's error tree below `kind`."""
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return below + [deeper for each in below for deeper in known_errors(each)]


@pytest.mark.parametrize("kind", known_errors())
def test_every_error_of_the_library_has_its_code_and_its_last_words(kind: type[TrialignError]) -> None:
    reason = f"{kind.code}: what was wrong"
    record = Record("s", RayStatus.FAILED, message="Job failed.", exit_code=kind.exit_status)
    decision = decide(
        JobView(Status.RUNNING, retries_left=0), Observation(record, True, ["loading", reason], NOW), PATIENCE
    )
    of_the_status = next(each.code for each in kind.__mro__ if "exit_status" in vars(each))  # type: ignore[attr-defined]
    assert (decision.error_code, decision.message) == (of_the_status, reason)
