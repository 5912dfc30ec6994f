"""Which call has which device: one call a device, and the time that devices were taken."""

from collections.abc import Iterable, Sequence

from tridentserve.domain.ids import DeviceId


class Floorplan:
    """Devices that are taken, by the number of a call."""

    def __init__(self) -> None:
        """Every device is free."""
        self._holder: dict[DeviceId, tuple[int, float]] = {}
        self._held: dict[int, list[DeviceId]] = {}
        self._taken_device_s = 0.0

    def problem(self, devices: Sequence[DeviceId], call: int | None = None) -> str | None:
        """Why a call cannot have these devices; None where it can."""
        if len(set(devices)) != len(devices):
            return "a device is named twice"
        for device in devices:
            holder = self._holder.get(device)
            if holder is not None and holder[0] != call:
                return f"device {device} carries another segment"
        return None

    def take(self, devices: Iterable[DeviceId], call: int, now: float) -> None:
        """Give free devices to a call; it may have some of them already."""
        for device in devices:
            holder = self._holder.get(device)
            if holder is None:
                self._holder[device] = (call, now)
                self._held.setdefault(call, []).append(device)
            else:
                assert holder[0] == call, f"{device} carries call {holder[0]}"

    def pass_on(self, devices: Iterable[DeviceId], giver: int, taker: int) -> None:
        """Let a call have devices that another one had."""
        for device in devices:
            holder, since_s = self._holder[device]
            assert holder == giver, f"{device} carries call {holder}"
            self._holder[device] = (taker, since_s)
            self._held[giver].remove(device)
            self._held.setdefault(taker, []).append(device)

    def free(self, call: int, now: float, *, keep: Sequence[DeviceId] = ()) -> None:
        """Take from a call all that it has but `keep`."""
        kept = []
        for device in self._held.pop(call, ()):
            if device in keep:
                kept.append(device)
            else:
                _, since_s = self._holder.pop(device)
                self._taken_device_s += now - since_s
        if kept:
            self._held[call] = kept

    def taken_device_s(self, now: float) -> float:
        """Device-seconds for which devices were taken until now."""
        return self._taken_device_s + sum(now - since_s for _, since_s in self._holder.values())
