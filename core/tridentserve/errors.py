"""Every error that somebody catches, and what it asks of the catcher.

A class exists only where a caller decides differently because of it. `TemporaryError` says that
the same call may succeed later or elsewhere; `PermanentError` says that it will not.

    TridentServeError
    |-- TemporaryError
    |   |-- UnavailableError           a peer is gone, draining or not ready: try another one
    |   |-- ExhaustedError             a queue or a store is full: wait `retry_after_s`
    |   |-- StaleEpochError            a newer decision about the segment exists: drop this one
    |   `-- TensorUnavailableError     a reference cannot be read: export, or re-run its stage
    |       |-- TensorMissingError     deleted, expired or never there
    |       `-- TensorCorruptedError   there, but not what was written
    `-- PermanentError
        |-- InvalidFieldError          user input; names the field
        |-- NotFoundError              a request, model or object that is not there
        |-- AlreadyExistsError         the same request is being served right now
        |-- DigestMismatchError        the worker holds another model than the journey began with
        |-- TooLargeError              no pool has the memory for it: ask for less
        |-- DeadlineExceededError      the caller's hard deadline has passed
        |-- CancelledError             the caller went away or said so
        |-- UndeployableError          no sharing mode can deploy a placement: plan another one
        `-- StageFailedError           the model itself failed on this input

How each becomes a gRPC status code stands in `tridentserve.rpc.status`, and nowhere else.
"""


class TridentServeError(Exception):
    """Root of the tree; never raised itself."""


class TemporaryError(TridentServeError):
    """The same call may succeed later, or on another worker."""


class PermanentError(TridentServeError):
    """The same call would fail again."""


class UnavailableError(TemporaryError):
    """A peer is gone, draining or not ready; `reason` is a word of `tridentserve.rpc.status`."""

    def __init__(
        self, message: str, *, reason: str = "NOT_READY", retry_after_s: float | None = None
    ) -> None:
        """Keep why, for the peer that has to tell draining from gone, and when to ask again."""
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class ExhaustedError(TemporaryError):
    """Something bounded is full: a queue, the slots of a worker, the memory of a store."""

    def __init__(
        self, message: str, *, reason: str = "NO_SLOT", retry_after_s: float = 1.0
    ) -> None:
        """Keep what is full, and how long the caller should wait before it asks again."""
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class StaleEpochError(TemporaryError):
    """A newer decision about the same segment has been seen."""


class TensorUnavailableError(TemporaryError):
    """A tensor reference cannot be read here and now."""


class TensorMissingError(TensorUnavailableError):
    """The tensor was deleted, has expired, or was never stored."""


class TensorCorruptedError(TensorUnavailableError):
    """What is stored differs from what the reference promises."""


class InvalidFieldError(PermanentError):
    """A value given by a user is wrong; `field` is its path as the user wrote it."""

    def __init__(self, field: str, problem: str) -> None:
        """Name the field and say what is wrong with its value and what would be right."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class NotFoundError(PermanentError):
    """What was asked for does not exist."""


class AlreadyExistsError(PermanentError):
    """The same request is being served right now."""


class DigestMismatchError(PermanentError):
    """The worker holds another model than the one that the journey began with."""


class TooLargeError(PermanentError):
    """No worker that is there or planned has the memory for what was asked."""


class DeadlineExceededError(PermanentError):
    """The caller's hard deadline has passed."""


class CancelledError(PermanentError):
    """The caller cancelled, or went away."""


class UndeployableError(PermanentError):
    """No sharing mode can deploy what a placement asks for; the message has each mode's reason."""


class StageFailedError(PermanentError):
    """The model failed on this very input; another worker would fail too."""
