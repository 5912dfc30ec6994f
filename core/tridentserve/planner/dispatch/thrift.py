"""Mechanism 6: the longer the queue, the better must devices be used.

A deadline raises a request to the degree that meets it, whatever that wastes: eight devices for the
largest class of CogVideoX take a quarter more device-seconds than one. Where devices are to spare
that buys a deadline. Where a queue stands already, everybody in it waits for what is wasted, and as
the largest classes are most of the work, the queue grows without end at a load that the cluster
could bear. So degrees below an efficiency are not offered for the moment: `idle` where nobody else
waits, and `slope` more for every other that waits, per device. Who could only be on time by what is
not offered counts as late, and no node drains for it.

The queue is the measure, not the load: it is short as well where wide calls fill the devices and
nobody waits for them. Per device, since a queue of so many a device waits as long on a cluster of
any size.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thrift:
    """How well devices must be used; 1 is as well as by one alone."""

    idle: float = 0.4
    """The least efficiency where nobody waits."""
    slope: float = 2.0
    """By how much it rises for every request that waits, per device."""
    most: float = 0.95
    """What is never asked more than."""

    def efficiency(self, others: int, devices: int) -> float:
        """The least efficiency of a degree that is offered.

        Args:
            others: requests that wait for diffusion besides the one that it is offered to.
            devices: that can diffuse.
        """
        return min(self.most, self.idle + self.slope * max(0, others) / max(1, devices))
