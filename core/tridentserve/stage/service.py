"""StageService as the router calls it; every method translates, calls one part, translates back.

| state | Run | Describe | Control, Release, Export |
| --- | --- | --- | --- |
| starting | UNAVAILABLE, NOT_READY | likewise | likewise |
| serving | as below | draining = false | yes |
| draining | UNAVAILABLE, DRAINING | draining = true | yes, for what is left |

What else a Run is refused with: `orders` (INVALID_ARGUMENT, DIGEST_MISMATCH), `admission`
(STALE_EPOCH, NO_SLOT) and `handoff` (TENSOR_UNAVAILABLE, STORE_FULL, STORE_UNREACHABLE).
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tridentserve.domain.ids import Epoch, SegmentId
from tridentserve.errors import InvalidFieldError, UnavailableError
from tridentserve.rpc import convert
from tridentserve.rpc.status import DRAINING, NOT_READY
from tridentserve.rpc.v1 import stage_pb2, stage_pb2_grpc
from tridentserve.stage import orders
from tridentserve.stage.admission import Admission
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.identity import Identity

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from grpc import aio

    _Context = aio.ServicerContext[Message, Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What there is once the model is loaded."""

    identity: Identity
    admission: Admission
    handoff: Handoff


class StageService(stage_pb2_grpc.StageServiceServicer):
    """Serves one worker's stages."""

    def __init__(self) -> None:
        """Begin as starting."""
        self._opened: Parts | None = None
        self._draining = False

    def open(self, parts: Parts) -> None:
        """Begin to serve."""
        self._opened = parts

    def drain(self) -> None:
        """Refuse new Runs from now on."""
        self._draining = True

    async def Run(
        self, request: stage_pb2.RunRequest, context: "_Context"
    ) -> AsyncIterator[stage_pb2.RunEvent]:
        """Run one segment."""
        parts = self._parts()
        if self._draining:
            raise UnavailableError("this worker is draining", reason=DRAINING)
        settings = parts.identity.settings
        order = orders.read(request, parts.identity.runners, settings.devices)
        run = parts.admission.admit(order)
        # Not in a `finally` of this generator: when a client goes away while gRPC is writing, it
        # drops the generator where it stands, and nobody but the garbage collector ends it.
        context.add_done_callback(lambda _: parts.admission.end(run))  # type: ignore[arg-type]
        async for event in run.events():
            if event.HasField("finished"):
                event.finished.timing.worker = settings.worker
                event.finished.timing.node = settings.node
            yield event

    async def Control(
        self, request: stage_pb2.ControlRequest, context: "_Context"
    ) -> stage_pb2.ControlResponse:
        """Cancel a segment; what it made is deleted, running or not."""
        parts = self._parts()
        if request.verb != stage_pb2.VERB_CANCEL:
            raise InvalidFieldError("verb", f"{request.verb} is not known; use VERB_CANCEL")
        segment, epoch = SegmentId(request.segment_id), Epoch(request.epoch)
        found = await parts.admission.cancel(segment, epoch)
        return stage_pb2.ControlResponse(found=found)

    async def Release(
        self, request: stage_pb2.ReleaseRequest, context: "_Context"
    ) -> stage_pb2.ReleaseResponse:
        """Forget tensors that this worker made, or one that is gone."""
        parts = self._parts()
        refs = [
            convert.tensor_ref_from(message, f"refs[{index}]")
            for index, message in enumerate(request.refs)
        ]
        # Whatever the boot id: a caller that has not noticed a restart yet names the one before.
        await parts.handoff.release(refs)
        if request.boot_id not in ("", parts.identity.boot_id):
            await parts.handoff.release_orphans(refs)
        return stage_pb2.ReleaseResponse()

    async def Export(
        self, request: stage_pb2.ExportRequest, context: "_Context"
    ) -> stage_pb2.ExportResponse:
        """Copy a tensor that this worker made into another store."""
        parts = self._parts()
        copy = await parts.handoff.export(convert.tensor_ref_from(request.ref), request.store)
        return stage_pb2.ExportResponse(ref=convert.tensor_ref_to(copy))

    async def Describe(
        self, request: stage_pb2.DescribeRequest, context: "_Context"
    ) -> stage_pb2.DescribeResponse:
        """Say what this worker is."""
        return self._parts().identity.describe(draining=self._draining)

    def _parts(self) -> Parts:
        if self._opened is None:
            raise UnavailableError("this worker is still loading its model", reason=NOT_READY)
        return self._opened
