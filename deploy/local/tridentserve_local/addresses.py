"""Loopback addresses: one block a cluster, one address a pod.

All of 127.0.0.0/8 answers on every Linux host without set-up, so pods can have addresses of their
own and use the same ports. Two clusters must not hand out the same ones: a cluster takes a whole
block `127.B.0.0/16` and holds an abstract unix socket named after it for as long as it lives. Such
a name is unique in a network namespace, which is exactly as far as its loopback addresses reach, it
needs no file that two users would have to share, and the kernel drops it with the last process that
holds it.
"""

from __future__ import annotations

import errno
import socket
from collections import deque

from tridentserve.errors import ExhaustedError

BLOCKS = range(64, 224)
"""Second octets to choose from: 127.0 is the host's own, and low ones are what people type."""


class AddressBlock:
    """A block of loopback addresses that belongs to this process until `close`."""

    def __init__(self, octet: int, lock: socket.socket) -> None:
        """Keep the lock that makes the block ours; `take` is how to come by one."""
        self.octet = octet
        self._lock = lock

    @classmethod
    def take(cls, blocks: range = BLOCKS) -> AddressBlock:
        """The first free block.

        Raises:
            ExhaustedError: all are taken.
        """
        for octet in blocks:
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0tridentserve-local/127.{octet}")
            except OSError as error:
                lock.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return cls(octet, lock)
        raise ExhaustedError(f"all {len(blocks)} blocks of loopback addresses are taken")

    def host_address(self, index: int) -> str:
        """The address of a node, counted from 0."""
        if not 0 <= index < 250:
            raise ValueError(f"a cluster has at most 250 nodes, not {index + 1}")
        return f"127.{self.octet}.0.{index + 1}"

    def pod_addresses(self) -> AddressPool:
        """The addresses that pods of all nodes share."""
        return AddressPool(f"127.{self.octet}")

    def close(self) -> None:
        """Gives the block back."""
        self._lock.close()


class AddressPool:
    """Hands out addresses `prefix.y.z`, the one given back longest ago first.

    A fresh pod must not inherit the address of one that just died: its peers may still have
    connections, retries and cached answers for that address.
    """

    def __init__(self, prefix: str) -> None:
        """Fill the pool with all addresses of a prefix of two octets."""
        self._free = deque((y, z) for y in range(1, 255) for z in range(1, 255))
        self._prefix = prefix
        self._taken: dict[str, tuple[int, int]] = {}

    def allocate(self, owner: str) -> str:
        """The address of an owner; asked again, the same.

        Raises:
            ExhaustedError: 64,516 pods have one.
        """
        if owner not in self._taken:
            if not self._free:
                raise ExhaustedError(f"all addresses of {self._prefix} are taken")
            self._taken[owner] = self._free.popleft()
        return "{}.{}.{}".format(self._prefix, *self._taken[owner])

    def release(self, owner: str) -> None:
        """Takes the address of an owner back; nothing if it has none."""
        address = self._taken.pop(owner, None)
        if address is not None:
            self._free.append(address)
