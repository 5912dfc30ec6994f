"""A worker that says what a test tells it to say, and remembers what it was asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from grpc import aio
from tests.router.bad_requests import MODEL
from tests.router.conftest import PATIENCE_S, PIPELINE, Town

from tridentserve import errors
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.rpc import convert, status
from tridentserve.rpc.v1 import common_pb2, stage_pb2, stage_pb2_grpc, tensor_pb2
from tridentserve_router.pods import Pod

Events = AsyncIterator[stage_pb2.RunEvent]
Run = Callable[[stage_pb2.RunRequest], Events]


class Scripted(stage_pb2_grpc.StageServiceServicer):
    """One worker; `runs` is used up Run by Run, and then every Run succeeds."""

    def __init__(self, name: str, *stages: Stage, digest: str = "old") -> None:
        """Describe itself as this."""
        model = convert.model_to(MODEL)
        model.digest = digest
        numbers = [convert.stage_to(stage) for stage in stages]
        self.description = stage_pb2.DescribeResponse(
            worker=name,
            pod_uid=name,
            boot_id="boot-1",
            pipeline=PIPELINE,
            revision=f"rev-{digest}",
            node="scripted",
            model=model,
            capable=numbers,
            resident=numbers,
            device_ids=[f"cpu/{name}"],
            fraction_percent=100,
            slots=1,
        )
        self.runs: list[Run] = []
        self.requests: list[stage_pb2.RunRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.remaining_s: list[float | None] = []
        """Until the deadline of each Run when it came in; None where it had none."""
        self.released: list[str] = []
        self.cancelled = 0
        self.told_to_cancel: list[tuple[str, int]] = []
        self.frozen: asyncio.Event | None = None
        """While set and not fired, Describe hangs."""
        self.server: aio.Server | None = None
        self._port = 0

    @property
    def name(self) -> WorkerId:
        """Its pod."""
        return WorkerId(self.description.worker)

    # --- what a Run may do ------------------------------------------------------------------------

    async def succeed(self, request: stage_pb2.RunRequest) -> Events:
        """Make a picture, or a hand-off named after the segment."""
        outputs = []
        if request.stage == common_pb2.STAGE_DECODE:
            chunk = common_pb2.MediaChunk(data=b"scripted", mime_type="image/png", last=True)
            yield stage_pb2.RunEvent(media=chunk)
        else:
            outputs = [tensor_pb2.TensorRef(store="redis", key=request.segment_id)]
        yield stage_pb2.RunEvent(
            finished=stage_pb2.RunFinished(
                results=[stage_pb2.ItemResult(outputs=outputs)],
                timing=common_pb2.StageTiming(run_seconds=0.01, batch=1),
                digest=self.description.model.digest,
            )
        )

    async def media_then_hang(self, request: stage_pb2.RunRequest) -> Events:
        """Half of a picture, and nothing more."""
        yield stage_pb2.RunEvent(media=common_pb2.MediaChunk(data=b"half of"))
        await self.hang_forever()

    async def hang(self, request: stage_pb2.RunRequest) -> Events:
        """Say nothing at all."""
        await self.hang_forever()
        yield stage_pb2.RunEvent()

    async def end_early(self, request: stage_pb2.RunRequest) -> Events:
        """End the stream with OK and without a result."""
        yield stage_pb2.RunEvent(started=stage_pb2.StageStarted(batch=1))

    def fail(self, error: errors.TridentServeError) -> Run:
        """End with an error."""

        async def run(request: stage_pb2.RunRequest) -> Events:
            raise error
            yield  # makes it a generator

        return run

    async def hang_forever(self) -> None:
        """Until the call is cancelled, which is counted."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    # --- the service ------------------------------------------------------------------------------

    async def Run(self, request: stage_pb2.RunRequest, context: Any) -> Events:
        """The next run of the script."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining_s.append(context.time_remaining())
        run = self.runs.pop(0) if self.runs else self.succeed
        try:
            async for event in run(request):
                yield event
        except errors.TridentServeError as error:
            await status.abort(context, error)

    async def Describe(self, request: Any, context: Any) -> stage_pb2.DescribeResponse:
        """What `description` says, once it is not frozen."""
        if self.frozen is not None:
            await self.frozen.wait()
        return self.description

    async def Release(
        self, request: stage_pb2.ReleaseRequest, context: Any
    ) -> stage_pb2.ReleaseResponse:
        """Remember the keys."""
        self.released += [ref.key for ref in request.refs]
        return stage_pb2.ReleaseResponse()

    async def Control(
        self, request: stage_pb2.ControlRequest, context: Any
    ) -> stage_pb2.ControlResponse:
        """Remember the segment."""
        assert request.verb == stage_pb2.VERB_CANCEL
        self.told_to_cancel.append((request.segment_id, request.epoch))
        return stage_pb2.ControlResponse(found=False)

    async def Export(
        self, request: stage_pb2.ExportRequest, context: Any
    ) -> stage_pb2.ExportResponse:
        """It has nothing to copy."""
        await status.abort(context, errors.TensorMissingError("it has no such tensor"))

    # --- life -------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self, town: Town) -> AsyncIterator["Scripted"]:
        """Serve as a member of a town that its router knows."""
        await self.start()
        town.pods.put(Pod(worker=self.name, uid=self.name, address=f"127.0.0.1:{self._port}"))
        await town.known(self.name)
        try:
            yield self
        finally:
            # Debts first, while there is somebody to hear of them.
            async with asyncio.timeout(PATIENCE_S):
                await town.router.core.releases.flush()
            await self.kill()

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self.server = aio.server(options=[("grpc.so_reuseport", 0)])
        stage_pb2_grpc.add_StageServiceServicer_to_server(self, self.server)
        self._port = self.server.add_insecure_port(f"127.0.0.1:{self._port}")
        await self.server.start()

    async def kill(self) -> None:
        """End at once."""
        if self.server is not None:
            await self.server.stop(0)
            self.server = None


@contextlib.asynccontextmanager
async def scripted_chain(town: Town) -> AsyncIterator[dict[Stage, Scripted]]:
    """One scripted worker of each stage."""
    async with contextlib.AsyncExitStack() as stack:
        chain = {}
        for stage in STAGES:
            worker = Scripted(f"{stage}-scripted", stage)
            chain[stage] = await stack.enter_async_context(worker.serving(town))
        yield chain
