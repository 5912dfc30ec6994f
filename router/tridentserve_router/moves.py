"""What a journey asks for (commands), what it may be told (outcomes), and how it ends.

Plain values, so that a journey can be walked in a test as well as by the router.
"""

from dataclasses import dataclass

from tridentserve.domain.ids import ContentDigest, MemoryDomain, Revision, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.errors import TridentServeError

NETWORK_STORE = "redis"
"""The store that every worker can read; what is exported goes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A hand-off: what a stage made for the next one, and who made it."""

    worker: WorkerId
    boot_id: str
    """Of the worker's process, which owns it."""
    store: str
    domain: MemoryDomain | None
    """Who can read it; None for everybody."""
    ref: object
    """The reference as it travels, opaque here: an equal one is the same tensor."""


# --- commands -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStage:
    """Run a stage, on none of the excluded workers unless there is no other."""

    stage: Stage
    inputs: Held | None
    digest: ContentDigest | None
    """What the worker must hold; None before the first stage is done."""
    attempt: int
    """1 for the first run of this stage; refusals do not count."""
    excluded: frozenset[WorkerId] = frozenset()
    pause_s: float = 0.0
    """Wait this long before asking for a worker."""
    stay: bool = False
    """Use the worker that was just found, where it is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Ask the producer to copy a hand-off into the store that everybody reads."""

    held: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Tell the producers that these are not needed any more; answered with None at once."""

    held: tuple[Held, ...]


Command = RunStage | Export | Release


# --- outcomes -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A stage ran."""

    worker: WorkerId
    digest: ContentDigest
    revision: Revision
    output: Held | None
    """None after decode."""
    timing: object = None
    """As the worker reported it, opaque here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A worker took no new work: that is no failure of the request."""

    worker: WorkerId
    draining: bool = False
    """It will not come back, so there is no point in waiting for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The connection, the process or the node of a worker went away in the middle."""

    worker: WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A worker could not do it, another one or a later moment may."""

    worker: WorkerId
    error: TridentServeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The model failed on this very input."""

    error: TridentServeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """The hand-off cannot be read by the worker that was found."""

    worker: WorkerId
    asked: bool = True
    """False where the worker was never asked, since it is in another memory domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestGone:
    """No worker of the journey's digest is left for the stage, but another digest serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The copy that everybody can read."""

    held: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class NotExported:
    """The producer is gone, or does not have it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The request is over, whatever it was doing."""

    error: TridentServeError


Outcome = (
    Done
    | Refused
    | Lost
    | Failed
    | Broken
    | Unreadable
    | DigestGone
    | Exported
    | NotExported
    | Ended
    | None
)


# --- endings --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """How one stage went, in the run that counted."""

    stage: Stage
    worker: WorkerId
    attempts: int
    timing: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The media are out."""

    digest: ContentDigest
    revision: Revision
    stages: tuple[StageRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """It ended without media; `error` says why."""

    error: TridentServeError


Ending = Completed | Abandoned
