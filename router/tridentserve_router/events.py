"""The events that the router itself tells a caller, serialized."""

from collections.abc import Mapping
from typing import cast

from tridentserve.domain.ids import PlanId, RequestId, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import common_pb2, generation_pb2
from tridentserve_router.moves import Completed, StageRecord


def accepted(request: RequestId, predicted_s: float, deadline_s: float) -> bytes:
    """A request was admitted; seconds from now, and Unix seconds; 0 where unknown."""
    return generation_pb2.GenerateEvent(
        accepted=generation_pb2.Accepted(
            request_id=request, predicted_seconds=predicted_s, deadline_unix_seconds=deadline_s
        )
    ).SerializeToString()


def stage_start(stage: Stage, worker: WorkerId, attempt: int) -> bytes:
    """A stage begins, or begins again."""
    return generation_pb2.GenerateEvent(
        stage_start=generation_pb2.StageStart(
            stage=convert.stage_to(stage), worker=worker, attempt=attempt
        )
    ).SerializeToString()


def finished(
    completed: Completed,
    *,
    generation: Generation,
    plan: PlanId,
    wait_s: Mapping[Stage, float],
    total_s: float,
    deadline_met: bool,
) -> bytes:
    """Everything is out; `wait_s` is the time in the router's queue, by stage."""
    return generation_pb2.GenerateEvent(
        finished=generation_pb2.GenerateFinished(
            mime_type=generation.output_format,
            seed=generation.seed,
            revision=completed.revision,
            plan_id=plan,
            timings=[_timing(record, wait_s) for record in completed.stages],
            total_seconds=total_s,
            deadline_met=deadline_met,
            digest=completed.digest,
        )
    ).SerializeToString()


def _timing(record: StageRecord, wait_s: Mapping[Stage, float]) -> common_pb2.StageTiming:
    timing = cast(common_pb2.StageTiming, record.timing)
    timing.stage = convert.stage_to(record.stage)
    timing.worker = record.worker
    timing.attempts = record.attempts
    timing.wait_seconds = wait_s.get(record.stage, 0.0)
    return timing
