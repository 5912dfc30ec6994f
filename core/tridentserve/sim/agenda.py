"""What is to happen, in order: the clock of a simulation.

Two things that fall on one moment come by rank, then in the order in which they were entered, so
equal runs are equal to the last event. It never looks at a real clock.
"""

import heapq
from enum import IntEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Rank(IntEnum):
    """Who comes first at one moment: what frees devices, then what asks for them."""

    WORK = 0
    FAILURE = 1
    WORKER = 2
    ARRIVAL = 3
    ALARM = 4
    LOOK = 5


class Agenda(Generic[Item]):
    """A heap of (moment, rank, entry)."""

    def __init__(self) -> None:
        """Nothing is to happen."""
        self._heap: list[tuple[float, int, int, Item]] = []
        self._entries = 0

    def add(self, at_s: float, rank: Rank, item: Item) -> None:
        """Have `item` happen at a moment."""
        heapq.heappush(self._heap, (at_s, rank, self._entries, item))
        self._entries += 1

    def next(self) -> tuple[float, Item] | None:
        """Take the first; None where nothing is left."""
        if not self._heap:
            return None
        at_s, _, _, item = heapq.heappop(self._heap)
        return at_s, item
