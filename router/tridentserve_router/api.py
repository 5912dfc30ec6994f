"""GenerationService: translate, call, translate back.

`Generate` takes and gives bytes. What comes in is parsed here, so that nonsense and fields that
this version does not know are INVALID_ARGUMENT instead of being dropped in silence; what goes out
is mostly what workers sent (see `relay`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc import aio

from tridentserve.domain.ids import RequestId
from tridentserve.domain.stages import STAGES
from tridentserve.errors import CancelledError, InvalidFieldError
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import generation_pb2
from tridentserve_router.admission import OUTPUT_FORMATS, Asked
from tridentserve_router.core import Core
from tridentserve_router.links import Metadata

if TYPE_CHECKING:
    _Context = aio.ServicerContext[Message | bytes, Message | bytes]

SERVICE = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name

_PASSED_ON = frozenset({"traceparent", "tracestate"})
"""Metadata that travels on to the workers; everything else stays here."""

UNREAD_S = 60.0
"""How long a caller may leave what was written unread: a piece of a picture in a
minute is slower than any connection that is worth a worker's slot."""


class GenerationService:
    """The service; `register` adds it to a server."""

    def __init__(self, core: Callable[[], Core]) -> None:
        """Translate for the core; `core` raises UnavailableError while there is none."""
        self._core = core

    def register(self, server: "aio.Server") -> None:
        """Add the methods by hand: the generated code would parse and serialize each event."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Generate": grpc.unary_stream_rpc_method_handler(self.Generate),
            "Cancel": grpc.unary_unary_rpc_method_handler(
                self.Cancel,
                request_deserializer=generation_pb2.CancelRequest.FromString,
                response_serializer=generation_pb2.CancelResponse.SerializeToString,
            ),
            "Describe": grpc.unary_unary_rpc_method_handler(
                self.Describe,
                request_deserializer=generation_pb2.DescribeGenerationRequest.FromString,
                response_serializer=generation_pb2.DescribeGenerationResponse.SerializeToString,
            ),
        }
        generic = grpc.method_handlers_generic_handler(SERVICE, handlers)
        server.add_generic_rpc_handlers((generic,))

    async def Generate(self, request: bytes, context: "_Context") -> None:
        """Make media; events are written as they come."""
        requests = self._core().requests
        try:
            asked = read_request(request)
        except InvalidFieldError:
            requests.count("invalid")
            raise
        await requests.serve(
            asked,
            emit=writer(context.write, UNREAD_S),
            metadata=_passed_on(context),
            remaining_s=context.time_remaining(),
        )

    async def Cancel(
        self, request: generation_pb2.CancelRequest, context: "_Context"
    ) -> generation_pb2.CancelResponse:
        """End a request by its id."""
        self._core().requests.cancel(RequestId(request.request_id))
        return generation_pb2.CancelResponse()

    async def Describe(
        self, request: generation_pb2.DescribeGenerationRequest, context: "_Context"
    ) -> generation_pb2.DescribeGenerationResponse:
        """Say what is served."""
        core = self._core()
        spec = core.pipeline.spec
        fleet, model = core.dispatcher.fleet, core.dispatcher.model
        answer = generation_pb2.DescribeGenerationResponse(
            pipeline=spec.name,
            limits=generation_pb2.GenerationLimits(
                max_pixels=spec.limits.max_pixels,
                max_frames=spec.limits.max_frames,
                max_steps=spec.limits.max_steps,
                max_images=spec.limits.max_images,
                max_prompt_characters=spec.limits.max_prompt_characters,
                size_multiple=model.size_multiple if model else 0,
            ),
            stages=[
                generation_pb2.StageStatus(
                    stage=convert.stage_to(stage), workers=fleet.workers.get(stage, 0)
                )
                for stage in STAGES
            ],
            output_formats=OUTPUT_FORMATS,
        )
        if model is not None:
            answer.family = model.family
            answer.default_shape.CopyFrom(convert.shape_to(model.default_shape))
            answer.default_steps = model.default_steps
            answer.default_guidance = model.default_guidance
        return answer


def writer(
    write: Callable[[bytes], Awaitable[None]], unread_s: float
) -> Callable[[bytes], Awaitable[None]]:
    """A way to write events that gives up a caller who went away, or who does not read.

    The first raises `asyncio.CancelledError`, as gRPC does between two writes; the second raises
    `CancelledError`, since a worker keeps a slot until everything it made is read.
    """

    async def emit(event: bytes) -> None:
        try:
            async with asyncio.timeout(unread_s):
                await write(event)
        except aio.InternalError as error:
            raise asyncio.CancelledError("the caller went away") from error
        except TimeoutError:
            raise CancelledError(f"nothing was read for {unread_s:g} s") from None

    return emit


def read_request(data: bytes) -> Asked:
    """What a caller wrote.

    Raises:
        InvalidFieldError: it is no request, or has a field that this version does not know.
    """
    try:
        message = generation_pb2.GenerateRequest.FromString(data)
    except DecodeError:
        raise InvalidFieldError("request", "is not a GenerateRequest") from None
    unknown = UnknownFieldSet(message)
    if len(unknown):
        number = unknown[0].field_number
        raise InvalidFieldError(str(number), "no such field; this router is older than its caller")
    return Asked(
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        height=message.height,
        width=message.width,
        frames=message.frames,
        steps=message.steps,
        guidance=message.guidance if message.HasField("guidance") else None,
        seed=message.seed if message.HasField("seed") else None,
        count=message.count,
        deadline_seconds=message.deadline_seconds,
        idempotency_key=message.idempotency_key,
        output_format=message.output_format,
        refuse_late=message.refuse_late,
    )


def _passed_on(context: "_Context") -> Metadata:
    return tuple(
        (key, value)
        for key, value in context.invocation_metadata() or ()
        if key in _PASSED_ON and isinstance(value, str)
    )
