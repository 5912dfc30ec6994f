"""Errors to gRPC status codes and back, in one table; nothing else in the project names a code.

| error | code | detail |
| --- | --- | --- |
| UnavailableError | UNAVAILABLE | DRAINING and its like, below; RetryInfo if known |
| ExhaustedError | RESOURCE_EXHAUSTED | RetryInfo; NO_SLOT, QUEUE_FULL, TOO_LATE, STORE_FULL |
| StaleEpochError | FAILED_PRECONDITION | ErrorInfo: STALE_EPOCH |
| TensorUnavailableError | FAILED_PRECONDITION | ErrorInfo: TENSOR_UNAVAILABLE |
| DigestMismatchError | FAILED_PRECONDITION | ErrorInfo: DIGEST_MISMATCH |
| TooLargeError | FAILED_PRECONDITION | ErrorInfo: TOO_LARGE |
| InvalidFieldError | INVALID_ARGUMENT | BadRequest naming the field |
| NotFoundError | NOT_FOUND | |
| AlreadyExistsError | ALREADY_EXISTS | |
| DeadlineExceededError | DEADLINE_EXCEEDED | |
| CancelledError | CANCELLED | |
| StageFailedError, and any other of the tree | INTERNAL | |

A code that comes from gRPC itself (a lost connection) has no ErrorInfo and maps by its code alone.
"""

from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from tridentserve import errors

ERROR_DOMAIN = "tridentserve.io"

DRAINING = "DRAINING"
NOT_READY = "NOT_READY"
STORE_UNREACHABLE = "STORE_UNREACHABLE"
DEVICE_BROKEN = "DEVICE_BROKEN"
NO_SLOT = "NO_SLOT"
QUEUE_FULL = "QUEUE_FULL"
TOO_LATE = "TOO_LATE"
STORE_FULL = "STORE_FULL"
STALE_EPOCH = "STALE_EPOCH"
TENSOR_UNAVAILABLE = "TENSOR_UNAVAILABLE"
DIGEST_MISMATCH = "DIGEST_MISMATCH"
TOO_LARGE = "TOO_LARGE"


_LONGEST_BYTES = 900
"""Of a text in a status. It travels twice in a call's trailers, once with all but ASCII written
three times as long, and gRPC drops calls whose trailers exceed 8 KiB now and then, and above 16 KiB
always: what was said of them would be lost, and the code with it."""


def _short(text: str) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= _LONGEST_BYTES:
        return text
    return raw[:_LONGEST_BYTES].decode(errors="ignore") + " [...]"


def _info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(domain=ERROR_DOMAIN, reason=reason)


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _code_and_details(error: errors.TridentServeError) -> tuple[int, tuple[Message, ...]]:
    match error:
        case errors.UnavailableError(reason=reason, retry_after_s=seconds):
            delay = () if seconds is None else (_retry(seconds),)
            return code_pb2.UNAVAILABLE, (_info(reason), *delay)
        case errors.ExhaustedError(reason=reason, retry_after_s=seconds):
            return code_pb2.RESOURCE_EXHAUSTED, (_info(reason), _retry(seconds))
        case errors.StaleEpochError():
            return code_pb2.FAILED_PRECONDITION, (_info(STALE_EPOCH),)
        case errors.TensorUnavailableError():
            return code_pb2.FAILED_PRECONDITION, (_info(TENSOR_UNAVAILABLE),)
        case errors.DigestMismatchError():
            return code_pb2.FAILED_PRECONDITION, (_info(DIGEST_MISMATCH),)
        case errors.TooLargeError():
            return code_pb2.FAILED_PRECONDITION, (_info(TOO_LARGE),)
        case errors.InvalidFieldError(field=field, problem=problem):
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=_short(field), description=_short(problem)
            )
            return code_pb2.INVALID_ARGUMENT, (
                error_details_pb2.BadRequest(field_violations=[violation]),
            )
        case errors.NotFoundError():
            return code_pb2.NOT_FOUND, ()
        case errors.AlreadyExistsError():
            return code_pb2.ALREADY_EXISTS, ()
        case errors.DeadlineExceededError():
            return code_pb2.DEADLINE_EXCEEDED, ()
        case errors.CancelledError():
            return code_pb2.CANCELLED, ()
        case _:
            return code_pb2.INTERNAL, ()


def to_status(error: errors.TridentServeError) -> status_pb2.Status:
    """The status, with details, that tells a peer about an error."""
    code, details = _code_and_details(error)
    packed = []
    for detail in details:
        message = AnyMessage()
        message.Pack(detail)
        packed.append(message)
    return status_pb2.Status(code=code, message=_short(str(error)), details=packed)


async def abort(
    context: "aio.ServicerContext[Message, Message]", error: errors.TridentServeError
) -> NoReturn:
    """End a call with an error of the tree."""
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


def from_call(error: aio.AioRpcError) -> errors.TridentServeError:
    """The error of the tree that a failed call means to its caller.

    Codes that no peer of ours sends (UNKNOWN, UNIMPLEMENTED, ...) become StageFailedError.
    """
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        # Details of another code than the call's: gRPC itself ended it, for its trailers' size.
        status = None
    return from_status(error.code(), error.details() or error.code().name, status)


def from_status(
    code: grpc.StatusCode, message: str, status: status_pb2.Status | None
) -> errors.TridentServeError:
    """As `from_call`, from the parts of a status."""
    reason, fields, retry_s = _read_details(status)
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return errors.UnavailableError(message, reason=reason or "", retry_after_s=retry_s)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return errors.ExhaustedError(
                message, reason=reason or NO_SLOT, retry_after_s=1.0 if retry_s is None else retry_s
            )
        case grpc.StatusCode.FAILED_PRECONDITION if reason == STALE_EPOCH:
            return errors.StaleEpochError(message)
        case grpc.StatusCode.FAILED_PRECONDITION if reason == TENSOR_UNAVAILABLE:
            return errors.TensorMissingError(message)
        case grpc.StatusCode.FAILED_PRECONDITION if reason == DIGEST_MISMATCH:
            return errors.DigestMismatchError(message)
        case grpc.StatusCode.FAILED_PRECONDITION if reason == TOO_LARGE:
            return errors.TooLargeError(message)
        case grpc.StatusCode.INVALID_ARGUMENT:
            field, problem = fields[0] if fields else ("request", message)
            return errors.InvalidFieldError(field, problem)
        case grpc.StatusCode.NOT_FOUND:
            return errors.NotFoundError(message)
        case grpc.StatusCode.ALREADY_EXISTS:
            return errors.AlreadyExistsError(message)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.DeadlineExceededError(message)
        case grpc.StatusCode.CANCELLED:
            return errors.CancelledError(message)
        case grpc.StatusCode.INTERNAL:
            return errors.StageFailedError(message)
        case _:
            return errors.StageFailedError(f"{code.name}: {message}")


def _read_details(
    status: status_pb2.Status | None,
) -> tuple[str | None, list[tuple[str, str]], float | None]:
    reason, fields, retry_s = None, [], None
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            fields = [(item.field, item.description) for item in bad.field_violations]
        elif detail.Unpack(retry):
            retry_s = retry.retry_delay.ToNanoseconds() / 1e9
    return reason, fields, retry_s
