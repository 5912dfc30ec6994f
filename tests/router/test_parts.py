"""The small parts: bytes that pass through, statuses, settings, what is read of the cluster."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from tests.router.bad_requests import MODEL
from tests.router.conftest import PIPELINE, make_spec

from tridentserve import errors
from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Action, Cursor, Demand, Event, Segment, Start
from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    Epoch,
    NodeId,
    PoolName,
    RequestId,
    Revision,
    SegmentId,
    WorkerId,
)
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.planner.cost import CostModel
from tridentserve.planner.state import State
from tridentserve.rpc.v1 import common_pb2, generation_pb2, stage_pb2
from tridentserve.telemetry.metrics import RouterMetrics
from tridentserve_router import relay
from tridentserve_router.calls import StageCall, outcome_of
from tridentserve_router.dispatcher import Dispatcher
from tridentserve_router.fleet import summarize
from tridentserve_router.links import RunCall
from tridentserve_router.moves import Broken, Ended, Failed, Lost, Outcome, Refused, Unreadable
from tridentserve_router.pipeline import read_pipeline
from tridentserve_router.pods import Pod, read_pod
from tridentserve_router.settings import from_environment
from tridentserve_router.waiting import Placed

E, D, C = STAGES
W = WorkerId("w")


def worker(name: str = "w", *stages: Stage, digest: str = "old", **changes: Any) -> Worker:
    return Worker(
        **{
            "id": WorkerId(name),
            "pipeline": PIPELINE,
            "pool": PoolName("pool"),
            "revision": Revision("rev"),
            "node": NodeId("a"),
            "pod_uid": name,
            "boot_id": "boot",
            "digest": ContentDigest(digest),
            "address": "127.0.0.1:1",
            "devices": (DeviceId(f"cpu/{name}"),),
            "fraction_percent": 100,
            "capable": frozenset(stages),
            "resident": frozenset(stages),
            **changes,
        }
    )


# --- relay ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100, 1_000_000])
def test_media_pass_through_unchanged(size: int) -> None:
    chunk = common_pb2.MediaChunk(index=3, mime_type="image/png", data=b"\x12" * size, last=True)
    raw = stage_pb2.RunEvent(media=chunk).SerializeToString()
    event = generation_pb2.GenerateEvent.FromString(relay.forward(raw) or b"")

    assert event == generation_pb2.GenerateEvent(media=chunk)


def test_steps_pass_through_unchanged() -> None:
    raw = stage_pb2.RunEvent(progress=stage_pb2.StepProgress(step=300, steps=1000))
    event = generation_pb2.GenerateEvent.FromString(relay.forward(raw.SerializeToString()) or b"")

    assert event == generation_pb2.GenerateEvent(step=generation_pb2.Step(step=300, steps=1000))


@pytest.mark.parametrize(
    "event",
    [
        stage_pb2.RunEvent(),
        stage_pb2.RunEvent(started=stage_pb2.StageStarted(batch=1)),
        stage_pb2.RunEvent(finished=stage_pb2.RunFinished(digest="d")),
    ],
)
def test_nothing_else_passes_through(event: stage_pb2.RunEvent) -> None:
    raw = event.SerializeToString()

    assert relay.forward(raw) is None
    assert relay.is_finished(raw) == event.HasField("finished")


# --- statuses -------------------------------------------------------------------------------------

PROBLEM = errors.StageFailedError("nan")
OUTCOMES: list[tuple[errors.TridentServeError, Outcome]] = [
    (errors.UnavailableError("", reason="DRAINING"), Refused(worker=W, draining=True)),
    (errors.UnavailableError("", reason="NOT_READY"), Refused(worker=W)),
    (errors.ExhaustedError("", reason="NO_SLOT"), Refused(worker=W)),
    (errors.DigestMismatchError(""), Refused(worker=W)),
    (errors.TensorMissingError(""), Unreadable(worker=W)),
    (errors.TensorCorruptedError(""), Unreadable(worker=W)),
    (errors.UnavailableError("", reason=""), Lost(worker=W)),
    (errors.CancelledError(""), Lost(worker=W)),
]


@pytest.mark.parametrize(("error", "expected"), OUTCOMES)
def test_what_a_status_means_to_a_journey(
    error: errors.TridentServeError, expected: Outcome
) -> None:
    assert outcome_of(error, worker()) == expected


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.DeadlineExceededError(""), Ended),
        (errors.StageFailedError(""), Broken),
        (errors.InvalidFieldError("prompt", "long"), Broken),
        (errors.ExhaustedError("", reason="STORE_FULL"), Failed),
        (errors.UnavailableError("", reason="STORE_UNREACHABLE"), Failed),
        (errors.StaleEpochError(""), Failed),
        (errors.NotFoundError(""), Failed),
    ],
)
def test_errors_travel_on_as_they_are(error: errors.TridentServeError, kind: type) -> None:
    outcome = outcome_of(error, worker())

    assert isinstance(outcome, Ended | Broken | Failed)
    assert type(outcome) is kind
    assert outcome.error is error


# --- settings -------------------------------------------------------------------------------------

GOOD = {"TRIDENTSERVE_PIPELINE": "team/flux", "POD_IP": "127.0.0.5"}


def test_a_pod_needs_little_to_be_said() -> None:
    found = from_environment(GOOD)

    assert (found.pipeline, found.host) == ("team/flux", "127.0.0.5")
    assert (found.grpc_port, found.metrics_port, found.drain_s) == (8500, 9400, 120.0)


def test_a_bare_name_is_of_the_pods_namespace() -> None:
    environ = {"TRIDENTSERVE_PIPELINE": "flux", "POD_NAMESPACE": "team"}

    assert from_environment(environ).pipeline == "team/flux"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRIDENTSERVE_PIPELINE", ""),
        ("TRIDENTSERVE_PIPELINE", "team/"),
        ("TRIDENTSERVE_PIPELINE", "/flux"),
        ("TRIDENTSERVE_LOG_FORMAT", "xml"),
        ("TRIDENTSERVE_GRPC_PORT", "65536"),
        ("TRIDENTSERVE_METRICS_PORT", "-1"),
        ("TRIDENTSERVE_DRAIN_SECONDS", "soon"),
        ("TRIDENTSERVE_DRAIN_SECONDS", "nan"),
        ("TRIDENTSERVE_DRAIN_SECONDS", "-1"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(errors.InvalidFieldError) as caught:
        from_environment({**GOOD, name: value})

    assert caught.value.field == name


# --- what is read of the cluster ------------------------------------------------------------------


def pod_body(**changes: Any) -> Mapping[str, Any]:
    metadata = {"name": "w", "uid": "u", "labels": {}, **changes.pop("metadata", {})}
    return {"metadata": metadata, "status": {"podIP": "127.1.2.3", "phase": "Running", **changes}}


def test_a_pod_with_an_address_is_a_worker() -> None:
    assert read_pod(pod_body()) == Pod(worker=W, uid="u", address="127.1.2.3:8500")


@pytest.mark.parametrize(
    "body",
    [
        pod_body(podIP=""),
        pod_body(phase="Failed"),
        pod_body(phase="Succeeded"),
        {"metadata": {"name": "w", "uid": "u"}},
    ],
)
def test_a_pod_without_an_address_or_with_an_end_is_none(body: Mapping[str, Any]) -> None:
    assert read_pod(body) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"tridentserve.io/draining": "true"}},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_pod_on_its_way_out_drains(metadata: dict[str, Any]) -> None:
    found = read_pod(pod_body(metadata=metadata))

    assert found is not None
    assert found.draining


def test_the_plan_is_read_from_the_status_and_may_be_missing() -> None:
    body: dict[str, Any] = {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"namespace": "team", "name": "flux"},
        "spec": {"model": {"uri": "pvc://models/flux"}, "aFieldOfTheFuture": 1},
    }
    assert read_pipeline(body).plan == ""
    body["status"] = {"plan": {"id": "abc", "reasons": []}}

    assert read_pipeline(body).plan == "abc"
    assert read_pipeline(body).spec == make_spec()


# --- the fleet ------------------------------------------------------------------------------------


def test_draining_workers_count_for_nothing() -> None:
    fleet = summarize(
        [
            worker("e", E, slots=2),
            worker("e2", E, fraction_percent=50),
            worker("d", D, draining=True),
            worker("c", C, digest="new"),
        ]
    )

    assert fleet.workers == {E: 2, C: 1}
    assert fleet.slots == {E: 3, C: 1}
    assert fleet.fraction_percent[E] == 100
    assert not fleet.has_chain(ContentDigest("old"))
    assert fleet.may_strand("old", D)
    assert not fleet.may_strand("new", C)


def test_a_chain_may_be_one_worker() -> None:
    assert summarize([worker("all", *STAGES)]).has_chain(ContentDigest("old"))


# --- ends that meet decisions ---------------------------------------------------------------------


async def test_a_decision_about_a_request_that_was_just_ended_harms_nobody() -> None:
    metrics = RouterMetrics(CollectorRegistry(), PIPELINE)
    dispatcher = Dispatcher(planner="Fifo", cost=CostModel(), metrics=metrics)
    ended, other = (
        Demand(
            id=RequestId(name),
            shape=MODEL.default_shape,
            steps=4,
            guidance=5.0,
            count=1,
            arrived_s=0.0,
            deadline_s=9.0,
            pipeline=PIPELINE,
        )
        for name in ("ended", "other")
    )
    waits = []
    for demand in (ended, other):
        dispatcher.arrive(demand)
        waits.append(asyncio.create_task(dispatcher.placed(demand.id)))
    await asyncio.sleep(0)  # both wait now
    waits[0].cancel()
    dispatcher.worker_up(worker("w", *STAGES), MODEL)
    with pytest.raises(asyncio.CancelledError):
        await waits[0]
    dispatcher.leave(ended.id)
    answer = await waits[1]

    assert isinstance(answer, Placed)
    assert answer.worker.id == W


class Endless:
    """A call that says nothing until it is cancelled."""

    def __init__(self) -> None:
        """Begin."""
        self._cancelled = asyncio.Event()

    def cancel(self) -> None:
        """End it."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody did."""
        return self._cancelled.is_set()

    async def read(self) -> bytes:
        """As gRPC does for a call that was cancelled from here."""
        await self._cancelled.wait()
        raise asyncio.CancelledError


@pytest.mark.parametrize("ended", [False, True])
async def test_a_request_that_is_ended_while_its_worker_is_lost_ends(ended: bool) -> None:
    async def emit(_: bytes) -> None:
        pass

    call = StageCall(cast(RunCall, Endless()), worker())
    task = asyncio.create_task(call.events(emit))
    await asyncio.sleep(0)  # it reads now
    call.lose()
    if ended:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert (await task).outcome == Lost(worker=W)


async def test_a_call_whose_events_cannot_be_passed_on_is_cancelled() -> None:
    class Talking(Endless):
        async def read(self) -> bytes:
            step = stage_pb2.StepProgress(step=1, steps=2)
            return stage_pb2.RunEvent(progress=step).SerializeToString()

    async def emit(_: bytes) -> None:
        raise ConnectionError("the caller is gone")

    endless = Talking()
    with pytest.raises(ConnectionError):
        await StageCall(cast(RunCall, endless), worker()).events(emit)

    assert endless.cancelled


# --- a planner with a defect ----------------------------------------------------------------------


class Mad:
    """Starts what does not wait, where nobody is."""

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """One impossible action."""
        segment = Segment(
            id=SegmentId("s"),
            worker=WorkerId("nobody"),
            stage=D,
            devices=(),
            strategy=SINGLE,
            requests=(Cursor(request=RequestId("r")),),
            epoch=Epoch(1),
        )
        return [Start(segment=segment, reason="mad")]


async def test_an_impossible_decision_costs_nobody_his_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = RouterMetrics(CollectorRegistry(), PIPELINE)
    dispatcher = Dispatcher(planner="Fifo", cost=CostModel(), metrics=metrics)
    dispatcher._planner = Mad()
    dispatcher.leave(RequestId("nobody"))
    dispatcher.worker_up(worker("e", E), MODEL)

    assert "impossible decision" in caplog.text
    assert list(dispatcher.workers) == ["e"]
