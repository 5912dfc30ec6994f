"""One request's walk through the three stages, as a generator: what happens after what.

The generator yields commands and is sent outcomes; it does no I/O, so every path through it is a
test. Whoever drives it (`walk`) carries a command out and answers with exactly one outcome.

| outcome of `RunStage` | what the journey does |
| --- | --- |
| `Done` | next stage; after decode it is complete |
| `Refused` (draining, no slot, not ready, …) | the same stage elsewhere; not an attempt |
| `Lost`, `Failed` | the same stage again from its hand-off, elsewhere; at most `max_attempts` |
| `Broken` (the model failed, or takes no such value) | ends: another worker would fail too |
| `Unreadable` | `Export` once, then the producing stage again |
| `DigestGone` | everything again from encode on the digest that is there; the seed stays |
| `Ended` (cancelled, deadline, given up, router stops) | ends |

Whatever the end, the last command is `Release` of every reference that was handed over, where
there is any. A journey never mixes digests: encode fixes it, and only another encode, which
leaves no older hand-off behind, changes it.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

from tridentserve.domain.ids import ContentDigest, Revision, WorkerId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import TridentServeError, UnavailableError
from tridentserve_router.moves import (
    NETWORK_STORE,
    Abandoned,
    Broken,
    Command,
    Completed,
    DigestGone,
    Done,
    Ended,
    Ending,
    Export,
    Exported,
    Failed,
    Held,
    Lost,
    NotExported,
    Outcome,
    Refused,
    Release,
    RunStage,
    StageRecord,
    Unreadable,
)

MAX_ATTEMPTS = 3
"""Runs of one stage before a journey gives up, the first one included."""

_UNKNOWN = Revision("")
_REFUSAL_PAUSE_S = 0.05
_FAILURE_PAUSE_S = 0.5
"""Failures that another moment may mend are those of stores: a restart takes a second or two."""
_LONGEST_PAUSE_S = 2.0


def journey(*, max_attempts: int = MAX_ATTEMPTS) -> Generator[Command, Outcome, Ending]:
    """Walk from encode to decode; see the table above."""
    trip = _Trip(max_attempts=max_attempts)
    ending = yield from _walk(trip)
    if trip.owed:
        yield Release(held=tuple(trip.owed))
    return ending


def _walk(trip: "_Trip") -> Generator[Command, Outcome, Ending]:
    stage: Stage | None = Stage.ENCODE
    while stage is not None:
        command = trip.run(stage)
        outcome = yield command
        match outcome:
            case Done() if trip.digest in (None, outcome.digest):
                stage = trip.finish(stage, outcome)
            case Done(worker=worker, output=output):
                # The worker's model changed under it. Its output belongs to another picture.
                trip.owed += [output] if output is not None else []
                trip.refused(stage, worker, draining=False)
            case Refused(worker=worker, draining=draining):
                trip.refused(stage, worker, draining=draining)
            case Lost(worker=worker):
                trip.failed(stage, worker, UnavailableError(f"{stage}: worker {worker} was lost"))
            case Failed(worker=worker, error=error):
                trip.failed(stage, worker, error)
                trip.pause_s = _pause(trip.attempts[stage], first_s=_FAILURE_PAUSE_S)
            case Unreadable(asked=asked):
                stage = yield from _recover(trip, stage, asked=asked)
            case DigestGone():
                trip.restarts += 1
                trip.given_up = _too_many(trip.restarts, max_attempts=trip.max_attempts)
                if trip.owed:
                    yield Release(held=trip.forget())
                trip.begin_again()
                stage = Stage.ENCODE
            case Broken(error=error) | Ended(error=error):
                return Abandoned(error=error)
            case _:
                raise TypeError(f"{outcome!r} is no outcome of {command!r}")
        if trip.given_up is not None:
            return Abandoned(error=trip.given_up)
    return trip.completed()


def _recover(
    trip: "_Trip", stage: Stage, *, asked: bool
) -> Generator[Command, Outcome, Stage | None]:
    """Make an unreadable hand-off readable; answers the stage to run now."""
    producer = stage.previous
    held = trip.handoffs.get(producer) if producer is not None else None
    if producer is None or held is None:
        raise TypeError("encode reads no hand-off, so that it cannot be unreadable")
    if held.store != NETWORK_STORE:
        outcome = yield Export(held=held)
        match outcome:
            case Exported(held=copy):
                trip.handoffs[producer] = copy
                trip.owed.append(copy)
                trip.stay = not asked
                return stage
            case Ended(error=error):
                trip.given_up = error
                return stage
            case NotExported():
                pass
            case _:
                raise TypeError(f"{outcome!r} is no outcome of Export")
    # Nobody has it any more: only its producer's stage can make it again.
    del trip.handoffs[producer]
    trip.failed(producer, None, UnavailableError(f"{producer}: its hand-off was lost"))
    return producer


def _pause(times: int, *, first_s: float) -> float:
    """Seconds before the next try after `times` of them: twice as long each time, up to a limit.

    >>> [_pause(times, first_s=0.5) for times in (1, 2, 3, 4)]
    [0.5, 1.0, 2.0, 2.0]
    """
    return min(first_s * 2.0 ** (times - 1), _LONGEST_PAUSE_S)


def _too_many(restarts: int, *, max_attempts: int) -> TridentServeError | None:
    if restarts < max_attempts:
        return None
    return UnavailableError(f"the model changed {restarts} times while the request ran")


@dataclass(slots=True, kw_only=True)
class _Trip:
    """What a journey remembers."""

    max_attempts: int
    digest: ContentDigest | None = None
    revision: Revision = _UNKNOWN
    restarts: int = 0
    refusals: int = 0
    """Since something last worked; refusals in a row make the pauses longer."""
    pause_s: float = 0.0
    stay: bool = False
    refuser: WorkerId | None = None
    given_up: TridentServeError | None = None
    attempts: dict[Stage, int] = field(default_factory=dict)
    """Failures so far, by stage."""
    excluded: dict[Stage, set[WorkerId]] = field(default_factory=dict)
    handoffs: dict[Stage, Held] = field(default_factory=dict)
    """Newest readable output, by the stage that made it."""
    owed: list[Held] = field(default_factory=list)
    """Everything that somebody must be told to release."""
    records: dict[Stage, StageRecord] = field(default_factory=dict)

    def run(self, stage: Stage) -> RunStage:
        """The command for a stage; takes the pause and the last refusal into account once."""
        excluded = frozenset(self.excluded.get(stage, ()))
        if self.refuser is not None:
            excluded |= {self.refuser}
        if stage is Stage.ENCODE:
            # Encode comes first, or again when its hand-off is lost; either way no hand-off is
            # left, so any digest will do.
            self.digest = None
        previous = stage.previous
        command = RunStage(
            stage=stage,
            inputs=self.handoffs[previous] if previous is not None else None,
            digest=self.digest,
            attempt=self.attempts.get(stage, 0) + 1,
            excluded=excluded,
            pause_s=self.pause_s,
            stay=self.stay,
        )
        self.pause_s, self.stay, self.refuser = 0.0, False, None
        return command

    def finish(self, stage: Stage, outcome: Done) -> Stage | None:
        """Note a result; answers the stage after it."""
        self.digest, self.revision = outcome.digest, outcome.revision
        self.refusals = 0
        if outcome.output is not None:
            self.handoffs[stage] = outcome.output
            self.owed.append(outcome.output)
        attempts = self.attempts.get(stage, 0) + 1
        self.records[stage] = StageRecord(
            stage=stage, worker=outcome.worker, attempts=attempts, timing=outcome.timing
        )
        return stage.next

    def refused(self, stage: Stage, worker: WorkerId, *, draining: bool) -> None:
        """Look elsewhere this time; a full worker is as good as any once it is free."""
        self.refuser = worker
        if draining:
            self.excluded.setdefault(stage, set()).add(worker)
            return
        if self.refusals:
            # One refusal may be bad luck. A second in a row means that everybody is full, and
            # asking again at once would only keep them busy refusing.
            self.pause_s = _pause(self.refusals, first_s=_REFUSAL_PAUSE_S)
        self.refusals += 1

    def failed(self, stage: Stage, worker: WorkerId | None, error: TridentServeError) -> None:
        """Count an attempt; too many of them end the journey with what went wrong last."""
        self.attempts[stage] = self.attempts.get(stage, 0) + 1
        if worker is not None:
            self.excluded.setdefault(stage, set()).add(worker)
        if self.attempts[stage] >= self.max_attempts:
            self.given_up = error

    def forget(self) -> tuple[Held, ...]:
        """Hand every debt over."""
        owed, self.owed = tuple(self.owed), []
        return owed

    def begin_again(self) -> None:
        """Forget all that belongs to the digest that is gone."""
        self.digest, self.refusals = None, 0
        for memory in (self.attempts, self.excluded, self.handoffs, self.records):
            memory.clear()

    def completed(self) -> Completed:
        """The ending of a journey whose decode is done."""
        assert self.digest is not None
        return Completed(
            digest=self.digest,
            revision=self.revision,
            stages=tuple(self.records[stage] for stage in STAGES),
        )
