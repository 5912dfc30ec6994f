"""What must hold for the demo to end well. Pure, so that a test can break each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tridentserve.client import Finished

from .plans import PlanSeen

SHM, REDIS = "shm", "redis"

_QUOTED_SHARE = 0.3
"""The plan is made while the rate still rises in Prometheus' window, so it quotes less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A claim, and whether it holds."""

    claim: str
    holds: bool
    found: str = ""
    """What there was instead, where it does not hold."""

    @property
    def line(self) -> str:
        """For people."""
        if self.holds:
            return f"yes  {self.claim}"
        return f"NO   {self.claim}" + f": {self.found}" * bool(self.found)


def of_pictures(
    count: int, finished: Sequence[Finished], differing: Sequence[str]
) -> tuple[Promise, ...]:
    """The pictures are there and right, and hops went through the stores that they should."""
    hops = hops_by_place(finished)
    return (
        Promise(
            claim=f"all {count} pictures were made, and equal the monolith's bit for bit",
            holds=len(finished) == count and not differing,
            found=f"{len(finished)} were made, {len(differing)} differ {' '.join(differing)}",
        ),
        Promise(
            claim="tensors went by shared memory within a node, through Redis between nodes",
            holds=hops[SHM, True] > 0 and hops[REDIS, False] > 0 and not hops[SHM, False],
            found=_words(hops),
        ),
    )


def hops_by_place(finished: Sequence[Finished]) -> Counter[tuple[str, bool]]:
    """How many hops by store, and by whether both ends were on one node.

    Redis within a node is no fault: where a hop goes is settled before the consumer is.
    """
    return Counter(
        (after.input_store, before.node == after.node)
        for one in finished
        for before, after in pairwise(one.timings)
    )


def _words(hops: Counter[tuple[str, bool]]) -> str:
    return ", ".join(
        f"{count} by {store or 'nothing'} {'within a node' if within else 'between nodes'}"
        for (store, within), count in sorted(hops.items())
    )


def of_the_end(left: Sequence[str]) -> Promise:
    """The cluster went without a trace; `left` is what did not."""
    claim = "the cluster is gone, and nothing of it is left on this machine"
    return Promise(claim=claim, holds=not left, found=", ".join(left))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutcome:
    """What load did: the plans, and what became of the requests."""

    before: PlanSeen
    under: PlanSeen
    after: PlanSeen
    sent: int
    right: int
    """Answered with the very picture that the request asked for."""
    problems: tuple[str, ...]
    rate_per_s: float
    """That was sent under load."""


def of_load(outcome: LoadOutcome) -> tuple[Promise, ...]:
    """The plan followed the load up and down, for the reason given, and nothing was lost."""
    before, under, after = outcome.before, outcome.under, outcome.after
    quoted, quiet = under.arrivals_per_s, before.arrivals_per_s
    return (
        Promise(
            claim="under load the busy stage got more workers and another fraction",
            holds=under.workers > before.workers
            and under.fraction_percent != before.fraction_percent,
            found=f"{before.words} became {under.words}",
        ),
        Promise(
            claim="its reason quotes the arrival rate that Prometheus saw",
            holds=quoted is not None
            and quiet is not None
            and quoted > quiet
            and quoted >= _QUOTED_SHARE * outcome.rate_per_s,
            found=under.reason or "no reason is given",
        ),
        Promise(
            claim="after the load it went back to where it was",
            holds=after.size == before.size,
            found=f"{after.words} instead of {before.words}",
        ),
        Promise(
            claim=f"no request was lost, and no picture wrong: {outcome.right} of {outcome.sent}",
            holds=0 < outcome.sent == outcome.right,
            found="; ".join(dict.fromkeys(outcome.problems)),
        ),
    )
