"""Which waiting Runs go into the next call, and when to look again: a pure function.

Runs go together when their keys are equal. A group of equal keys is *ripe* when it is full, when
its oldest member has waited `max_wait_s`, or when nobody else can join: a worker takes on no more
than `max_size` Runs of a stage, so a list of that length grows no more. Of all ripe groups, the one
with the oldest member goes.

No key can block another for ever: a Run's group is ripe `max_wait_s` after it came, and from then
on only groups that hold an older Run go before it.

    >>> a, b = (BatchKey(stage=Stage.ENCODE, work=key, steps=4, strategy=SINGLE) for key in _KEYS)
    >>> waiting = [Waiting(id=SegmentId(i), key=k, since_s=t) for i, k, t in
    ...            [("1", a, 0.0), ("2", b, 0.1), ("3", a, 0.2)]]
    >>> window = Window(max_size=4, max_wait_s=1.0)
    >>> choose(waiting, window, now=0.5)
    Choice(batch=(), wake_at_s=1.0)
    >>> choose(waiting, window, now=1.0).batch
    ('1', '3')
    >>> choose(waiting, Window(max_size=3, max_wait_s=1.0), now=0.5).batch
    ('1', '3')

The simulator runs this same function.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from tridentserve.domain.ids import ContentDigest, SegmentId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.work import WorkKey

_KEYS = tuple(
    WorkKey(digest=ContentDigest(""), shape=Shape(height=side, width=side), guidance=5.0)
    for side in (64, 128)
)  # for the example above


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchKey:
    """What must be equal for two Runs to share a call that runs a whole stage."""

    stage: Stage
    work: WorkKey
    steps: int
    strategy: Strategy = SINGLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One Run that is ready to go."""

    id: SegmentId
    key: BatchKey
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How large a call may be, and how long a Run waits for company."""

    max_size: int
    max_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Runs that go now, oldest first; or none, and when to ask again (None: when one arrives)."""

    batch: tuple[SegmentId, ...] = ()
    wake_at_s: float | None = None


def choose(waiting: Sequence[Waiting], window: Window, now: float) -> Choice:
    """Choose the next call.

    Args:
        waiting: in order of arrival.
        window: size and time.
        now: same clock as `since_s`.
    """
    of_stage = Counter(run.key.stage for run in waiting)
    groups: dict[BatchKey, list[Waiting]] = {}
    for run in waiting:
        groups.setdefault(run.key, []).append(run)
    # Dicts keep the order of insertion, so groups are in order of their oldest members.
    for key, members in groups.items():
        if (
            # Covers a full group too, which is a full list by itself.
            of_stage[key.stage] >= window.max_size or now >= members[0].since_s + window.max_wait_s
        ):
            return Choice(batch=tuple(run.id for run in islice(members, window.max_size)))
    oldest = min((run.since_s for run in waiting), default=None)
    return Choice(wake_at_s=None if oldest is None else oldest + window.max_wait_s)
