"""The gRPC side of one worker: the calls of StageService, errors of the tree out.

`Run` answers raw bytes, since most of its events travel on as they are (see `relay`).
"""

from collections.abc import Sequence
from typing import TypeAlias, cast

from grpc import aio

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    Epoch,
    MemoryDomain,
    NodeId,
    PipelineName,
    PoolName,
    Revision,
    SegmentId,
    WorkerId,
)
from tridentserve.errors import TridentServeError
from tridentserve.rpc import convert, status
from tridentserve.rpc.client import channel
from tridentserve.rpc.v1 import stage_pb2, stage_pb2_grpc, tensor_pb2

Metadata = tuple[tuple[str, str], ...]
RunCall: TypeAlias = "aio.UnaryStreamCall[stage_pb2.RunRequest, bytes]"

_RUN = "/tridentserve.rpc.v1.StageService/Run"


class Link:
    """A channel to one worker; it connects by itself, again and again."""

    def __init__(self, address: str) -> None:
        """Prepare; nothing is sent yet."""
        self.address = address
        self._channel = channel(address)
        self._stub: stage_pb2_grpc.StageServiceAsyncStub = stage_pb2_grpc.StageServiceStub(
            self._channel
        )
        self._run: aio.UnaryStreamMultiCallable[stage_pb2.RunRequest, bytes] = cast(
            # Without a deserializer: bytes come out.
            "aio.UnaryStreamMultiCallable[stage_pb2.RunRequest, bytes]",
            self._channel.unary_stream(
                _RUN, request_serializer=stage_pb2.RunRequest.SerializeToString
            ),
        )

    def run(
        self, request: stage_pb2.RunRequest, *, metadata: Metadata, timeout_s: float | None
    ) -> RunCall:
        """Begin a segment; the events are read from the call."""
        return self._run(request, metadata=metadata, timeout=timeout_s)

    async def describe(self, timeout_s: float) -> stage_pb2.DescribeResponse:
        """Ask what it is.

        Raises:
            TridentServeError: it does not answer.
        """
        try:
            return await self._stub.Describe(stage_pb2.DescribeRequest(), timeout=timeout_s)
        except aio.AioRpcError as error:
            raise status.from_call(error) from None

    async def release(
        self, refs: Sequence[tensor_pb2.TensorRef], boot_id: str, timeout_s: float
    ) -> None:
        """Ask it to forget tensors that the process `boot_id` made, its own or one that is gone.

        Raises:
            TridentServeError: it did not hear it.
        """
        try:
            await self._stub.Release(
                stage_pb2.ReleaseRequest(refs=refs, boot_id=boot_id), timeout=timeout_s
            )
        except aio.AioRpcError as error:
            raise status.from_call(error) from None

    async def cancel(self, segment: SegmentId, epoch: Epoch, timeout_s: float) -> None:
        """Ask it to stop a segment, or to forget what it made if it has just finished.

        Raises:
            TridentServeError: it did not hear it.
        """
        request = stage_pb2.ControlRequest(
            segment_id=segment, epoch=epoch, verb=stage_pb2.VERB_CANCEL
        )
        try:
            await self._stub.Control(request, timeout=timeout_s)
        except aio.AioRpcError as error:
            raise status.from_call(error) from None

    async def export(
        self, ref: tensor_pb2.TensorRef, store: str, timeout_s: float
    ) -> tensor_pb2.TensorRef:
        """Ask it to copy a tensor that it made into another store.

        Raises:
            TridentServeError: it did not, or does not have it any more.
        """
        request = stage_pb2.ExportRequest(ref=ref, store=store)
        try:
            answer = await self._stub.Export(request, timeout=timeout_s)
        except aio.AioRpcError as error:
            raise status.from_call(error) from None
        return answer.ref

    async def close(self) -> None:
        """Close the channel; calls on it end."""
        await self._channel.close()


def read_worker(answer: stage_pb2.DescribeResponse, address: str) -> Worker:
    """The worker that described itself.

    Raises:
        InvalidFieldError: it names something that this version does not know.
    """
    return Worker(
        id=WorkerId(answer.worker),
        pipeline=PipelineName(answer.pipeline),
        pool=PoolName(answer.pool),
        revision=Revision(answer.revision),
        node=NodeId(answer.node),
        pod_uid=answer.pod_uid,
        boot_id=answer.boot_id,
        digest=ContentDigest(answer.model.digest),
        address=address,
        devices=tuple(DeviceId(device) for device in answer.device_ids),
        fraction_percent=answer.fraction_percent or 100,
        capable=frozenset(convert.stage_from(stage, "capable") for stage in answer.capable),
        resident=frozenset(convert.stage_from(stage, "resident") for stage in answer.resident),
        load_seconds=tuple(
            (convert.stage_from(cost.stage, "load_costs.stage"), cost.seconds)
            for cost in answer.load_costs
        ),
        strategies=tuple(convert.strategy_from(strategy) for strategy in answer.strategies),
        slots=max(1, answer.slots),
        domain=MemoryDomain(answer.memory_domain) if answer.memory_domain else None,
        draining=answer.draining,
    )


def is_gone(error: TridentServeError) -> bool:
    """Whether an error says that nobody answered, rather than that somebody refused."""
    return getattr(error, "reason", None) == ""
