"""What decisions of a policy cost, fitted: the figures that a scenario's `decision` charges.

    seconds = base_s + per_waiting_s x requests that wait + per_device_s x devices

by non-negative least squares over the measured decisions of runs. Runs on one number of devices
cannot tell the device's share from the base: it is 0 then. The measured seconds belong to the
machine; a scenario that is to give the same result everywhere states the fitted figures.
"""

from collections.abc import Sequence

from tridentserve.sim.results import Result
from tridentserve.sim.scenario import DecisionPart


def fits(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """The fit of each policy that decided anything."""
    names = dict.fromkeys(one.dispatch for one in results)
    groups = {name: [one for one in results if one.dispatch == name] for name in names}
    return {
        name: fit(group).model_dump()
        for name, group in groups.items()
        if any(one.machine.decide_s for one in group)
    }


def fit(results: Sequence[Result]) -> DecisionPart:
    """The fit over all decisions of runs of one policy; there must be one decision at least."""
    import numpy as np
    from scipy.optimize import nnls

    several = len({one.devices for one in results}) > 1
    rows = [
        (1.0, float(queue), float(one.devices) if several else 0.0)
        for one in results
        for queue in one.machine.queue
    ]
    seconds = [value for one in results for value in one.machine.decide_s]
    found, _ = nnls(np.array(rows), np.array(seconds))
    base_s, per_waiting_s, per_device_s = map(float, found)
    return DecisionPart(base_s=base_s, per_waiting_s=per_waiting_s, per_device_s=per_device_s)
