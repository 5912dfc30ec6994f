"""Every error of the tree survives the way through a status and back, with what it carries."""

import grpc
import pytest
from google.rpc import code_pb2, status_pb2

from tridentserve import errors
from tridentserve.rpc import status

CODES = {number: code for code in grpc.StatusCode for number in [code.value[0]]}


def there_and_back(error: errors.TridentServeError) -> errors.TridentServeError:
    sent = status.to_status(error)
    return status.from_status(CODES[sent.code], sent.message, sent)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnavailableError("gone", reason=status.DRAINING), grpc.StatusCode.UNAVAILABLE),
        (errors.ExhaustedError("full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.StaleEpochError("old"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.TensorMissingError("lost"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.DigestMismatchError("other"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.TooLargeError("too large"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.InvalidFieldError("height", "too high"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.NotFoundError("none"), grpc.StatusCode.NOT_FOUND),
        (errors.AlreadyExistsError("twice"), grpc.StatusCode.ALREADY_EXISTS),
        (errors.DeadlineExceededError("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (errors.CancelledError("stop"), grpc.StatusCode.CANCELLED),
        (errors.StageFailedError("broken"), grpc.StatusCode.INTERNAL),
    ],
)
def test_an_error_has_a_code_and_comes_back_as_itself(
    error: errors.TridentServeError, code: grpc.StatusCode
) -> None:
    assert CODES[status.to_status(error).code] is code
    assert type(there_and_back(error)) is type(error)


def test_what_a_model_said_is_not_decorated_on_its_way() -> None:
    assert str(there_and_back(errors.StageFailedError("broken"))) == "broken"


def test_every_error_that_is_raised_has_a_row_above() -> None:
    def leaves(kind: type[errors.TridentServeError]) -> set[type]:
        below = kind.__subclasses__()
        return {kind} if not below else {leaf for one in below for leaf in leaves(one)}

    # A corrupted tensor asks the router for the same as a missing one, and comes back as that.
    corrupted = there_and_back(errors.TensorCorruptedError("flipped"))
    assert isinstance(corrupted, errors.TensorUnavailableError)
    internal = {
        kind.__name__
        for kind in leaves(errors.TridentServeError)
        if kind.__module__ == errors.__name__ and kind is not errors.InvalidFieldError
        if status.to_status(kind("x")).code == code_pb2.INTERNAL
    }
    # Who plans a placement catches the second one: it never travels.
    assert internal == {"StageFailedError", "UndeployableError"}


def test_reasons_fields_and_delays_survive() -> None:
    draining = there_and_back(errors.UnavailableError("x", reason=status.DRAINING))
    full = there_and_back(errors.ExhaustedError("x", reason=status.QUEUE_FULL, retry_after_s=2.5))
    field = there_and_back(errors.InvalidFieldError("limits.maxSteps", "must be at least 1"))

    assert isinstance(draining, errors.UnavailableError)
    assert draining.reason == status.DRAINING
    assert isinstance(full, errors.ExhaustedError)
    assert (full.reason, full.retry_after_s) == (status.QUEUE_FULL, 2.5)
    assert isinstance(field, errors.InvalidFieldError)
    assert (field.field, field.problem) == ("limits.maxSteps", "must be at least 1")


def test_a_lost_connection_has_no_reason_of_ours() -> None:
    error = status.from_status(grpc.StatusCode.UNAVAILABLE, "connection refused", None)

    assert isinstance(error, errors.UnavailableError)
    assert error.reason == ""


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DATA_LOSS]
)
def test_codes_that_no_peer_of_ours_sends_are_failures_that_name_them(
    code: grpc.StatusCode,
) -> None:
    error = status.from_status(code, "odd", None)

    assert isinstance(error, errors.StageFailedError)
    assert code.name in str(error)


def test_a_failed_precondition_without_our_reason_is_not_taken_for_a_missing_tensor() -> None:
    error = status.from_status(grpc.StatusCode.FAILED_PRECONDITION, "?", status_pb2.Status())

    assert isinstance(error, errors.StageFailedError)
