"""Which made-up GPUs a pod holds. Pure.

Every node has the GPUs it was told, each with a UUID that stays the same for a cluster's name, node
and index. The scheduler counts; this pool says *which*, never gives one to two pods, and takes them
back only when the pod's processes are gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from tridentserve.errors import ExhaustedError

GPU_RESOURCE = "nvidia.com/gpu"
_NAMESPACE = uuid.UUID("b1f6a0e2-5d0c-4c1e-9f55-3f6a1f0c7e11")


def made_up_gpus(cluster: str, node: str, count: int) -> tuple[str, ...]:
    """UUIDs in the form that the NVIDIA driver prints."""
    return tuple(f"GPU-{uuid.uuid5(_NAMESPACE, f'{cluster}/{node}/{i}')}" for i in range(count))


class DevicePool:
    """Devices of one node and who holds them; holders are containers, as `uid/name`."""

    def __init__(self, devices: tuple[str, ...]) -> None:
        """Begin with every device free."""
        self._holder: dict[str, str | None] = dict.fromkeys(devices)

    def allocate(self, holder: str, count: int) -> tuple[str, ...]:
        """`count` devices for a holder; asked again, it gets those it has.

        Raises:
            ExhaustedError: too few are free; nothing is taken then.
        """
        held = tuple(d for d, h in self._holder.items() if h == holder)
        free = [d for d, h in self._holder.items() if h is None]
        missing = count - len(held)
        if missing > len(free):
            raise ExhaustedError(f"{count} GPUs wanted, {len(free)} of {len(self._holder)} free")
        taken = free[: max(missing, 0)]
        for device in taken:
            self._holder[device] = holder
        return held + tuple(taken)

    def release(self, holder: str) -> None:
        """Takes back all that a holder has; nothing if it has nothing."""
        for device, current in self._holder.items():
            if current == holder:
                self._holder[device] = None

    def holders(self) -> Mapping[str, str]:
        """Who holds which device now."""
        return {device: holder for device, holder in self._holder.items() if holder is not None}
