"""How long a dispatch decision takes, state upkeep included, on one core.

    python benchmarks/decision_time.py [--policy DeadlineAware --policy Fifo] [--events 2000]

A busy fleet with a queue that stays as long as it is: 1,000 requests on 128 devices, 10,000 on
10,240. Then bursts: requests arrive at one moment, and the planner is told of each by itself, as a
router tells it. On an idle fleet places are to be found for them, and a burst lasts until the last
of it has begun to diffuse; what ends meanwhile and lets others begin belongs to it. Where a queue
waits already, it is told of, and the answer to each is that it waits too.

The unit is processor time of this thread, so a busy machine does not count, but its cold caches do.
The longest event of a large fleet is often one during which Python collected its garbage.
`Ilp` weighs requests every half second, at most 256, and does little in between: its median is that
of the events between two solutions, and only the maximum is sure to be one.

Also said is the share of one core at the rate of events that so many devices make: four events a
request (arrival and three stages), 1.5 requests a second on 128 devices. Alarms that the planner
asked for come on top, as often as there were any in a second of the fleet's time.
"""

import argparse
from collections.abc import Iterator
from statistics import median

from decision_time_fleet import Bench
from tridentserve.planner.registry import DISPATCH_POLICIES

SIZES = ((128, 1000), (10_240, 10_000))
USUAL = ("Ilp", "Fifo", "EarliestDeadline/Largest", "TetriRounds", "EdfPreemptive", "ServerFilling")
REQUESTS_PER_S = 1.5 / 128
EVENTS_PER_REQUEST = 4
BURSTS = 5


def report(bench: Bench, events: int) -> str:
    """One line of the table of single events."""
    first = bench.step() or 0.0  # queues are built, estimates are looked up
    begun, woken = bench.now, len(bench.woken)
    spent = sorted(one for one in (bench.step() for _ in range(events)) if one is not None)
    alarms = bench.woken[woken:]
    mean = (sum(spent) - sum(alarms)) / (len(spent) - len(alarms))
    rate = bench.devices * REQUESTS_PER_S * EVENTS_PER_REQUEST
    share = mean * rate + sum(alarms) / (bench.now - begun)
    return (
        f"| {bench.policy} | {bench.devices} | {bench.waiting} | {1e3 * median(spent):.2f}"
        f" | {1e3 * spent[int(0.99 * len(spent))]:.2f} | {1e3 * spent[-1]:.1f} |"
        f" {1e3 * first:.0f} | {100 * share:.1f} |"
    )


def burst(bench: Bench, requests: int) -> list[float]:
    """Processor seconds of every event that decided upon a burst; nothing is left of it then."""
    arrived = [bench.arrive() for _ in range(requests)]
    spent = [seconds for _, seconds in arrived]
    left = {name for name, _ in arrived} if not bench.waiting else set()
    while left := {name for name in left if not bench.has_begun(name)}:
        seconds = bench.step()
        spent += [] if seconds is None else [seconds]
    bench.forget(name for name, _ in arrived)
    return spent


def burst_report(policy: str, devices: int, waiting: int, requests: int) -> str:
    """One line of the table of bursts."""
    figures = [policy, str(devices)]
    for before in (0, waiting):
        bench = Bench(policy, devices, before)
        burst(bench, requests)  # queues are built, estimates are looked up
        found = [burst(bench, requests) for _ in range(BURSTS)]
        worst, total = max(map(max, found)), median(map(sum, found))
        figures += [f"{median(map(len, found)):.0f}", f"{1e3 * worst:.1f}", f"{1e3 * total:.0f}"]
    return f"| {' | '.join(figures)} |"


def lines(policies: list[str], events: int, requests: int) -> Iterator[str]:
    """Both tables."""
    yield "| policy | devices | waiting | p50 ms | p99 ms | max ms | first ms | % of a core |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for policy in policies:
        for devices, waiting in SIZES:
            yield report(Bench(policy, devices, waiting), events)
    yield ""
    yield f"Bursts of {requests}:"
    yield ""
    yield "| policy | devices | idle: events | worst ms | all ms | queue: events | worst | all |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for policy in policies:
        for devices, waiting in SIZES:
            yield burst_report(policy, devices, waiting, requests)


def main() -> None:
    """Print the tables, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", action="append", choices=DISPATCH_POLICIES)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--burst", type=int, default=200, help="requests that arrive at once")
    arguments = parser.parse_args()
    policies = arguments.policy or ["DeadlineAware", *USUAL]
    for line in lines(policies, arguments.events, arguments.burst):
        print(line, flush=True)


if __name__ == "__main__":
    main()
