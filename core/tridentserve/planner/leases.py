"""Devices: who holds each, and whose segments run on it now.

Capacity belongs to devices, not to workers. A worker that the sharing mode isolates from others may
run beside them on a device; any other waits until nobody does.
"""

from collections import Counter

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, WorkerId


class Leases:
    """Holders and lessees by device; changed by `Roster` alone."""

    def __init__(self) -> None:
        """No device is there."""
        self._holders: dict[DeviceId, tuple[WorkerId, ...]] = {}
        self._lessees: dict[DeviceId, Counter[WorkerId]] = {}
        self.shared = 0
        """Devices that several workers hold."""

    def holders(self, device: DeviceId) -> tuple[WorkerId, ...]:
        """Workers that hold a device, in the order in which they came."""
        return self._holders.get(device, ())

    def lessees(self, device: DeviceId) -> frozenset[WorkerId]:
        """Workers whose segments run on a device now."""
        return frozenset(self._lessees.get(device, ()))

    def is_leased(self, device: DeviceId, *, besides: WorkerId) -> bool:
        """Whether the segments of another worker run on a device now."""
        lessees = self._lessees.get(device)
        return lessees is not None and any(lessee != besides for lessee in lessees)

    def vacant(self, worker: Worker) -> list[DeviceId]:
        """Devices on which a worker that holds them could start calls now, in its order."""
        lessees = self._lessees
        vacant = [device for device in worker.devices if device not in lessees]
        if len(vacant) == len(worker.devices):
            return vacant
        if worker.isolated:
            vacant = [
                device for device in worker.devices if worker.id not in lessees.get(device, ())
            ]
        if not worker.concurrent and any(
            worker.id in lessees.get(device, ()) for device in worker.devices
        ):
            return []
        return vacant

    def held(self, worker: Worker) -> None:
        """A worker holds its devices."""
        for device in worker.devices:
            others = self._holders.get(device, ())
            self._holders[device] = (*others, worker.id)
            self.shared += len(others) == 1

    def given_up(self, worker: Worker) -> None:
        """A worker holds its devices no more; what it leases, its segments give back."""
        for device in worker.devices:
            left = tuple(one for one in self._holders[device] if one != worker.id)
            self.shared -= len(left) == 1
            if left:
                self._holders[device] = left
            else:
                del self._holders[device]

    def lease(self, device: DeviceId, worker: WorkerId) -> bool:
        """A segment begins to run on a device; True where it is the worker's first there."""
        lessees = self._lessees.setdefault(device, Counter())
        lessees[worker] += 1
        return lessees[worker] == 1

    def release(self, device: DeviceId, worker: WorkerId) -> bool:
        """A segment leaves a device; True where it was the worker's last there."""
        lessees = self._lessees[device]
        lessees[worker] -= 1
        if lessees[worker]:
            return False
        del lessees[worker]
        if not lessees:
            del self._lessees[device]
        return True
