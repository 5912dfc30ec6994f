"""Which groups of devices a worker can use at once, and which must be set up first.

A group is set up by building communicators over its devices, which costs nearly a second once and
next to nothing while they are kept. A worker keeps a bounded number; the one that was not used the
longest goes first. Aligned groups may be prepared when the worker comes up (paper section 1.7).
"""

from collections.abc import Sequence

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, WorkerId
from tridentserve.sim.scenario import WorldPart


class Groups:
    """Hot groups of every worker."""

    def __init__(self, settings: WorldPart) -> None:
        """Nobody is up."""
        self._settings = settings
        self._hot: dict[WorkerId, dict[frozenset[DeviceId], None]] = {}

    def up(self, worker: Worker) -> None:
        """A worker came up; aligned groups are ready where they are prepared."""
        hot = self._hot[worker.id] = {}
        if not self._settings.prepared_groups:
            return
        size = 2
        while size <= len(worker.devices):
            for first in range(0, len(worker.devices) - size + 1, size):
                hot[frozenset(worker.devices[first : first + size])] = None
            size *= 2

    def down(self, worker: WorkerId) -> None:
        """A worker is gone with its groups."""
        self._hot.pop(worker, None)

    def use(self, worker: WorkerId, devices: Sequence[DeviceId]) -> float:
        """Seconds until these devices are a group; a single one always is."""
        if len(devices) < 2:
            return 0.0
        hot = self._hot[worker]
        group = frozenset(devices)
        known = group in hot
        hot.pop(group, None)
        hot[group] = None
        while len(hot) > self._settings.hot_groups:
            del hot[next(iter(hot))]
        return self._settings.group_hot_s if known else self._settings.group_cold_s
