"""What happens after what, for every outcome; the journey is driven by hand, without a loop."""

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tridentserve.domain.ids import ContentDigest, MemoryDomain, Revision, WorkerId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import (
    CancelledError,
    DeadlineExceededError,
    ExhaustedError,
    InvalidFieldError,
    StageFailedError,
    TridentServeError,
    UnavailableError,
)
from tridentserve_router.journey import MAX_ATTEMPTS, journey
from tridentserve_router.moves import (
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
    Unreadable,
)

OLD, NEW = ContentDigest("old"), ContentDigest("new")
DOMAIN = MemoryDomain("node-a")
W1, W2, W3 = WorkerId("w1"), WorkerId("w2"), WorkerId("w3")


def held(name: str, *, store: str = "shm", worker: WorkerId = W1) -> Held:
    domain = DOMAIN if store == "shm" else None
    return Held(worker=worker, boot_id="b", store=store, domain=domain, ref=name)


def done(
    output: Held | str | None = None, *, worker: WorkerId = W1, digest: ContentDigest = OLD
) -> Done:
    return Done(
        worker=worker,
        digest=digest,
        revision=Revision(f"rev-{digest}"),
        output=held(output, worker=worker) if isinstance(output, str) else output,
        timing=f"{worker}'s timing",
    )


class Driver:
    """Walks one journey: `ask` is the command that waits for an answer."""

    def __init__(self) -> None:
        """Begin; it asks for encode."""
        self._flow: Generator[Command, Outcome, Ending] = journey()
        self.ask: Command | None = next(self._flow)
        self.ending: Ending | None = None
        self.released: list[Held] = []

    def answer(self, outcome: Outcome) -> "Driver":
        """Send an outcome; releases are taken note of and answered."""
        try:
            self.ask = self._flow.send(outcome)
        except StopIteration as stop:
            self.ask, self.ending = None, stop.value
        if isinstance(self.ask, Release):
            self.released += self.ask.held
            return self.answer(None)
        return self

    @property
    def run(self) -> RunStage:
        """The stage that it asks to run."""
        assert isinstance(self.ask, RunStage), self.ask
        return self.ask

    @property
    def names(self) -> list[object]:
        """References that were released."""
        return [one.ref for one in self.released]

    @property
    def error(self) -> TridentServeError:
        """Why it was abandoned."""
        assert isinstance(self.ending, Abandoned), self.ending
        return self.ending.error


@pytest.fixture
def trip() -> Driver:
    return Driver()


@pytest.fixture
def at(trip: Driver) -> Driver:
    """At decode: encode made `e`, diffuse made `d`."""
    return trip.answer(done("e")).answer(done("d", worker=W2))


def test_three_stages_each_read_what_the_one_before_made(trip: Driver) -> None:
    assert (trip.run.stage, trip.run.inputs, trip.run.digest) == (Stage.ENCODE, None, None)
    trip.answer(done("e"))
    assert (trip.run.stage, trip.run.inputs, trip.run.digest) == (Stage.DIFFUSE, held("e"), OLD)
    trip.answer(done("d"))
    assert (trip.run.stage, trip.run.inputs, trip.run.digest) == (Stage.DECODE, held("d"), OLD)
    trip.answer(done(None, worker=W3))

    assert isinstance(trip.ending, Completed)
    assert (trip.ending.digest, trip.ending.revision) == (OLD, "rev-old")
    assert [record.stage for record in trip.ending.stages] == list(STAGES)
    assert [record.worker for record in trip.ending.stages] == [W1, W1, W3]
    assert [record.attempts for record in trip.ending.stages] == [1, 1, 1]
    assert trip.ending.stages[2].timing == "w3's timing"


def test_everything_handed_over_is_released_at_the_end(at: Driver) -> None:
    assert at.released == []
    at.answer(done(None))

    assert at.names == ["e", "d"]
    assert [one.worker for one in at.released] == [W1, W2]


def test_a_journey_that_made_nothing_releases_nothing(trip: Driver) -> None:
    trip.answer(Ended(error=CancelledError("gone")))

    assert trip.ending is not None
    assert trip.released == []


@pytest.mark.parametrize(
    "error",
    [
        CancelledError("gone"),
        DeadlineExceededError("late"),
        UnavailableError("the router stops"),
        UnavailableError("given up"),
    ],
)
@pytest.mark.parametrize("stages", [0, 1, 2])
def test_an_early_end_at_any_stage_ends_it_and_releases_what_there_is(
    error: TridentServeError, stages: int
) -> None:
    trip = Driver()
    for name in ("e", "d")[:stages]:
        trip.answer(done(name))
    trip.answer(Ended(error=error))

    assert trip.error is error
    assert trip.names == ["e", "d"][:stages]


@pytest.mark.parametrize("error", [StageFailedError("nan"), InvalidFieldError("width", "odd")])
@pytest.mark.parametrize("stages", [0, 1, 2])
def test_what_the_model_cannot_do_is_not_tried_again(error: TridentServeError, stages: int) -> None:
    trip = Driver()
    for name in ("e", "d")[:stages]:
        trip.answer(done(name))
    trip.answer(Broken(error=error))

    assert trip.error is error
    assert trip.names == ["e", "d"][:stages]


# --- losses and failures --------------------------------------------------------------------------


def test_a_lost_worker_costs_its_stage_alone_and_is_avoided(trip: Driver) -> None:
    trip.answer(done("e")).answer(Lost(worker=W2))

    assert (trip.run.stage, trip.run.inputs) == (Stage.DIFFUSE, held("e"))
    assert (trip.run.attempt, trip.run.excluded) == (2, frozenset({W2}))
    assert trip.run.pause_s == 0.0


def test_every_worker_that_failed_a_stage_is_avoided_for_that_stage_only(trip: Driver) -> None:
    trip.answer(done("e")).answer(Lost(worker=W2)).answer(Lost(worker=W3))
    assert trip.run.excluded == {W2, W3}
    trip.answer(done("d"))

    assert (trip.run.stage, trip.run.excluded, trip.run.attempt) == (Stage.DECODE, frozenset(), 1)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_given_up_after_as_many_losses_as_attempts(stage: Stage) -> None:
    trip = Driver()
    for name in ("e", "d")[: STAGES.index(stage)]:
        trip.answer(done(name))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert trip.run.attempt == attempt
        trip.answer(Lost(worker=WorkerId(f"w{attempt}")))

    assert isinstance(trip.error, UnavailableError)
    assert f"worker w{MAX_ATTEMPTS} was lost" in str(trip.error)
    assert trip.names == ["e", "d"][: STAGES.index(stage)]


def test_attempts_are_counted_for_each_stage_apart(trip: Driver) -> None:
    for name in ("e", "d", None):
        trip.answer(Lost(worker=W1)).answer(Lost(worker=W2)).answer(done(name))

    assert isinstance(trip.ending, Completed)
    assert [record.attempts for record in trip.ending.stages] == [3, 3, 3]


def test_a_store_that_is_away_gets_time_to_come_back(trip: Driver) -> None:
    full = ExhaustedError("the store is full", reason="STORE_FULL")
    trip.answer(Failed(worker=W1, error=full))
    assert trip.run.pause_s == 0.5
    trip.answer(Failed(worker=W2, error=full))
    assert trip.run.pause_s == 1.0
    trip.answer(Failed(worker=W3, error=full))

    assert trip.error is full


def test_the_pause_is_asked_for_once(trip: Driver) -> None:
    trip.answer(Failed(worker=W1, error=UnavailableError("away")))
    trip.answer(done("e"))

    assert trip.run.pause_s == 0.0


# --- refusals -------------------------------------------------------------------------------------


def test_refusals_are_no_attempts_however_many(trip: Driver) -> None:
    for _ in range(20):
        trip.answer(Refused(worker=W1))

    assert (trip.run.attempt, trip.ending) == (1, None)


def test_a_full_worker_is_avoided_once_and_welcome_later(trip: Driver) -> None:
    trip.answer(Refused(worker=W1))
    assert trip.run.excluded == {W1}
    trip.answer(Refused(worker=W2))

    assert trip.run.excluded == {W2}


def test_a_draining_worker_is_avoided_for_good(trip: Driver) -> None:
    trip.answer(Refused(worker=W1, draining=True)).answer(Refused(worker=W2))

    assert trip.run.excluded == {W1, W2}


def test_refusals_in_a_row_slow_down_and_the_first_does_not(trip: Driver) -> None:
    pauses = []
    for _ in range(9):
        trip.answer(Refused(worker=W1))
        pauses.append(trip.run.pause_s)

    assert pauses == [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_draining_workers_do_not_slow_it_down(trip: Driver) -> None:
    for number in range(5):
        trip.answer(Refused(worker=WorkerId(f"w{number}"), draining=True))

    assert trip.run.pause_s == 0.0


def test_success_ends_a_row_of_refusals(trip: Driver) -> None:
    trip.answer(Refused(worker=W1)).answer(Refused(worker=W1)).answer(done("e"))
    trip.answer(Refused(worker=W1))

    assert trip.run.pause_s == 0.0


# --- hand-offs that cannot be read ----------------------------------------------------------------


def test_a_hand_off_out_of_reach_is_exported_and_the_found_worker_kept(at: Driver) -> None:
    at.answer(Unreadable(worker=W3, asked=False))
    assert at.ask == Export(held=held("d", worker=W2))
    copy = held("d-copy", store="redis", worker=W2)
    at.answer(Exported(held=copy))

    assert (at.run.stage, at.run.inputs, at.run.attempt) == (Stage.DECODE, copy, 1)
    assert at.run.stay
    at.answer(done(None))
    assert at.names == ["e", "d", "d-copy"]


def test_a_worker_that_was_asked_and_could_not_read_must_be_asked_anew(at: Driver) -> None:
    at.answer(Unreadable(worker=W3)).answer(Exported(held=held("c", store="redis")))

    assert not at.run.stay
    assert at.run.attempt == 1


def test_a_hand_off_that_cannot_be_exported_is_made_again(at: Driver) -> None:
    at.answer(Unreadable(worker=W3)).answer(NotExported())

    assert (at.run.stage, at.run.inputs, at.run.attempt) == (Stage.DIFFUSE, held("e"), 2)
    at.answer(done("d2"))
    assert (at.run.stage, at.run.inputs) == (Stage.DECODE, held("d2"))
    at.answer(done(None))
    assert at.names == ["e", "d", "d2"]
    assert isinstance(at.ending, Completed)
    assert [record.attempts for record in at.ending.stages] == [1, 2, 1]


def test_what_is_missing_in_the_network_store_is_made_again_without_asking(trip: Driver) -> None:
    trip.answer(done(held("e", store="redis"))).answer(Unreadable(worker=W2))

    assert (trip.run.stage, trip.run.attempt) == (Stage.ENCODE, 2)


def test_an_export_that_is_lost_too_ends_in_another_run(at: Driver) -> None:
    at.answer(Unreadable(worker=W3)).answer(Exported(held=held("copy", store="redis")))
    at.answer(Unreadable(worker=W3))

    assert (at.run.stage, at.run.inputs) == (Stage.DIFFUSE, held("e"))


def test_losing_all_hand_offs_goes_back_to_encode_on_any_digest(at: Driver) -> None:
    at.answer(Unreadable(worker=W3)).answer(NotExported())
    at.answer(Unreadable(worker=W2)).answer(NotExported())

    assert (at.run.stage, at.run.digest, at.run.inputs) == (Stage.ENCODE, None, None)
    at.answer(done("e2", digest=NEW))
    assert (at.run.stage, at.run.digest) == (Stage.DIFFUSE, NEW)


def test_hand_offs_that_are_lost_again_and_again_end_it(at: Driver) -> None:
    for name in ("d2", "d3"):
        at.answer(Unreadable(worker=W3)).answer(NotExported()).answer(done(name))
    at.answer(Unreadable(worker=W3)).answer(NotExported())

    assert isinstance(at.error, UnavailableError)
    assert "hand-off was lost" in str(at.error)
    assert at.names == ["e", "d", "d2", "d3"]


def test_a_cancel_while_exporting_ends_it(at: Driver) -> None:
    error = CancelledError("gone")
    at.answer(Unreadable(worker=W3)).answer(Ended(error=error))

    assert at.error is error
    assert at.names == ["e", "d"]


# --- digests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [1, 2])
def test_when_its_digest_is_gone_it_begins_again_and_forgets_all_of_it(stages: int) -> None:
    trip = Driver()
    for name in ("e", "d")[:stages]:
        trip.answer(done(name))
    trip.answer(DigestGone())

    assert trip.names == ["e", "d"][:stages]
    assert trip.run == RunStage(stage=Stage.ENCODE, inputs=None, digest=None, attempt=1)
    trip.answer(done("e'", digest=NEW)).answer(done("d'", digest=NEW)).answer(
        done(None, digest=NEW)
    )
    assert isinstance(trip.ending, Completed)
    assert (trip.ending.digest, trip.ending.revision) == (NEW, "rev-new")
    assert trip.names == [*["e", "d"][:stages], "e'", "d'"]


def test_a_result_of_another_digest_is_thrown_away(trip: Driver) -> None:
    trip.answer(done("e")).answer(done("alien", worker=W2, digest=NEW))

    assert (trip.run.stage, trip.run.inputs, trip.run.digest) == (Stage.DIFFUSE, held("e"), OLD)
    assert trip.run.excluded == {W2}
    trip.answer(Ended(error=CancelledError("gone")))
    assert trip.names == ["e", "alien"]


def test_a_picture_of_another_digest_does_not_complete_it(at: Driver) -> None:
    at.answer(done(None, digest=NEW))

    assert at.ending is None
    assert at.run.stage is Stage.DECODE


def test_a_model_that_keeps_changing_ends_it(trip: Driver) -> None:
    for _ in range(MAX_ATTEMPTS):
        trip.answer(done("e")).answer(DigestGone())

    assert "the model changed" in str(trip.error)
    assert trip.names == ["e"] * MAX_ATTEMPTS


# --- drivers that err -----------------------------------------------------------------------------


def test_an_outcome_that_answers_another_command_is_a_defect_of_the_driver(trip: Driver) -> None:
    with pytest.raises(TypeError, match="is no outcome of"):
        trip.answer(NotExported())


def test_encode_cannot_be_told_that_its_input_is_unreadable(trip: Driver) -> None:
    with pytest.raises(TypeError, match="encode reads no hand-off"):
        trip.answer(Unreadable(worker=W1))


def test_an_export_is_not_answered_by_a_run(at: Driver) -> None:
    at.answer(Unreadable(worker=W3))

    with pytest.raises(TypeError, match="is no outcome of Export"):
        at.answer(done("x"))


# --- any order of outcomes ------------------------------------------------------------------------

OUTCOMES = ("done", "done-new", "lost", "refused", "draining", "failed", "unreadable", "gone")


@given(st.lists(st.sampled_from(OUTCOMES), max_size=60), st.booleans())
def test_whatever_happens_no_digests_mix_and_every_hand_off_is_released_once(
    words: list[str], exportable: bool
) -> None:
    trip = Driver()
    made: list[str] = []
    digests: dict[object, ContentDigest] = {}
    for word in [*words, "end"]:
        if trip.ask is None:
            break
        if isinstance(trip.ask, Export):
            if exportable:
                name = f"{len(made)}-copy"
                made.append(name)
                digests[name] = digests[trip.ask.held.ref]
                trip.answer(Exported(held=held(name, store="redis")))
            else:
                trip.answer(NotExported())
        else:
            run = trip.run
            if run.inputs is not None:
                assert digests[run.inputs.ref] == run.digest
            trip.answer(_outcome(word, run, made, digests))
    while trip.ask is not None:
        trip.answer(Ended(error=CancelledError("gone")))

    assert sorted(map(str, trip.names)) == sorted(made)


def _outcome(
    word: str, run: RunStage, made: list[str], digests: dict[object, ContentDigest]
) -> Outcome:
    match word:
        case "done" | "done-new":
            digest = OLD if word == "done" else NEW
            if run.stage is Stage.DECODE:
                return done(None, digest=digest)
            made.append(str(len(made)))
            digests[made[-1]] = digest
            return done(made[-1], digest=digest)
        case "lost":
            return Lost(worker=W1)
        case "refused" | "draining":
            return Refused(worker=W1, draining=word == "draining")
        case "failed":
            return Failed(worker=W1, error=UnavailableError("away"))
        case "unreadable" if run.inputs is not None:
            return Unreadable(worker=W1)
        case "gone" if run.stage is not Stage.ENCODE:
            return DigestGone()
        case _:
            return Ended(error=CancelledError("gone"))
