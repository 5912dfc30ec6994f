"""The two books of a worker: segments with their slots and epochs, and references."""

from random import Random

import pytest

from tridentserve.domain.ids import Epoch, RequestId, SegmentId
from tridentserve.domain.stages import Stage
from tridentserve.domain.tensors import TensorRef
from tridentserve.errors import ExhaustedError, StaleEpochError
from tridentserve.stage import segments
from tridentserve.stage.references import References
from tridentserve.stage.segments import Segments, Ticket


def _ticket(request: str = "r", epoch: int = 1, stage: Stage = Stage.ENCODE) -> Ticket:
    return Ticket(
        segment=SegmentId(f"{request}/{stage}/{epoch}"),
        request=RequestId(request),
        epoch=Epoch(epoch),
        stage=stage,
    )


def _admit(book: Segments, ticket: Ticket) -> tuple[SegmentId, ...]:
    superseded = book.announce(ticket)
    book.take(ticket)
    return superseded


def test_slots_are_counted_by_stage() -> None:
    book = Segments([Stage.ENCODE, Stage.DECODE], slots=1)
    _admit(book, _ticket("a"))

    with pytest.raises(ExhaustedError):
        _admit(book, _ticket("b"))
    _admit(book, _ticket("b", stage=Stage.DECODE))

    assert (book.inflight(Stage.ENCODE), book.inflight(Stage.DECODE)) == (1, 1)


def test_a_freed_slot_can_be_taken_while_the_segment_still_ends() -> None:
    book = Segments([Stage.ENCODE], slots=1)
    first = _ticket("a")
    _admit(book, first)
    book.free(first.segment)

    _admit(book, _ticket("b"))

    assert book.find(first.segment) == first
    book.end(first.segment)
    assert book.find(first.segment) is None
    assert book.inflight(Stage.ENCODE) == 1


def test_freeing_and_ending_twice_is_no_error() -> None:
    book = Segments([Stage.ENCODE], slots=1)
    ticket = _ticket()
    _admit(book, ticket)

    for _ in range(2):
        book.free(ticket.segment)
        book.end(ticket.segment)

    assert len(book) == 0


def test_only_older_segments_of_the_same_request_are_superseded() -> None:
    book = Segments([Stage.ENCODE, Stage.DIFFUSE], slots=4)
    older, other = _ticket("a", 1), _ticket("b", 1)
    _admit(book, older)
    _admit(book, other)

    assert _admit(book, _ticket("a", 2, Stage.DIFFUSE)) == (older.segment,)
    assert book.inflight(Stage.ENCODE) == 1


def test_an_older_epoch_is_refused_even_after_its_segment_ended() -> None:
    book = Segments([Stage.ENCODE], slots=1)
    newer = _ticket(epoch=7)
    _admit(book, newer)
    book.end(newer.segment)

    with pytest.raises(StaleEpochError):
        book.announce(_ticket(epoch=6))


def test_a_refused_segment_leaves_no_trace_but_its_epoch() -> None:
    book = Segments([Stage.ENCODE], slots=1)
    _admit(book, _ticket("a"))
    with pytest.raises(ExhaustedError):
        _admit(book, _ticket("b", 3))

    assert book.find(_ticket("b", 3).segment) is None
    with pytest.raises(StaleEpochError):
        book.announce(_ticket("b", 2))
    assert book.announce(_ticket("b", 3)) == ()


def test_epochs_are_forgotten_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_REMEMBERED", 2)
    book = Segments([Stage.ENCODE], slots=9)
    for name in ("a", "b", "c"):
        book.announce(_ticket(name, 5))

    book.announce(_ticket("a", 1))
    with pytest.raises(StaleEpochError):
        book.announce(_ticket("c", 1))


def _ref(key: str, store: str = "shm", expires_s: float = 100.0) -> TensorRef:
    return TensorRef(
        store=store,
        key=key,
        tensors=(),
        size_bytes=1,
        checksum=None,
        expires_s=expires_s,
        domain=None,
    )


SEGMENT = SegmentId("r/encode/1")


def test_popping_an_original_or_its_copy_takes_both() -> None:
    for asked in (_ref("a"), _ref("b", "redis")):
        book = References()
        book.add(_ref("a"), SEGMENT)
        assert book.add_copy(_ref("a"), _ref("b", "redis"))

        assert book.pop([asked]) == [_ref("a"), _ref("b", "redis")]
        assert (len(book), book.pop([asked])) == (0, [])


def test_a_copy_of_what_was_released_belongs_to_nobody() -> None:
    book = References()
    book.add(_ref("a"), SEGMENT)
    book.pop([_ref("a")])

    assert not book.add_copy(_ref("a"), _ref("b", "redis"))
    assert book.find(_ref("b", "redis")) is None


def test_the_same_key_in_another_store_is_another_tensor() -> None:
    book = References()
    book.add(_ref("a", "shm"), SEGMENT)

    assert book.find(_ref("a", "redis")) is None
    assert book.pop([_ref("a", "redis")]) == []


def test_what_was_noted_counts_and_not_what_the_caller_says() -> None:
    book = References()
    book.add(_ref("a", expires_s=5.0), SEGMENT)

    assert book.find(_ref("a", expires_s=1e12)) == _ref("a", expires_s=5.0)


def test_expired_ones_are_popped_at_their_time() -> None:
    book = References()
    book.add(_ref("a", expires_s=5.0), SEGMENT)
    book.add(_ref("b", expires_s=6.0), SEGMENT)

    assert book.pop_expired(4.9) == []
    assert book.pop_expired(5.0) == [_ref("a", expires_s=5.0)]
    assert book.pop_all() == [_ref("b", expires_s=6.0)]


def test_any_order_of_calls_keeps_the_book_consistent() -> None:
    random = Random(7)
    book, expected = References(), dict[str, set[str]]()
    for step in range(2_000):
        key = f"k{random.randrange(20)}"
        match random.randrange(3):
            case 0 if key not in expected:
                book.add(_ref(key), SEGMENT)
                expected[key] = {key}
            case 1:
                copy = f"c{step}"
                assert book.add_copy(_ref(key), _ref(copy)) == (key in expected)
                if key in expected:
                    expected[key].add(copy)
            case 2:
                popped = {ref.key for ref in book.pop([_ref(key)])}
                assert popped == expected.pop(key, set())
        assert len(book) == len(expected)
    assert {ref.key for ref in book.pop_all()} == set().union(*expected.values())
