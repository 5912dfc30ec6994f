"""Seconds of a hand-off, put and get together, by store.

Redis is measured points, not a bandwidth: 32 MB took 52 ms in chunks of 1 MB, as our store sends
them, and 137 ms as one value; 4 MB took 8.2 ms and 0.5 MB 1.07 ms (loopback, one core each).
Between points the line is straight in the logarithms; less than the first point costs as much as
it, more than the last in proportion. Shared memory and NCCL are 2 ms and 10 GB/s (paper section
5.1's overheads, an assumption). Within one process only a reference is passed.
"""

from itertools import pairwise
from math import exp, log

from tridentserve.errors import InvalidFieldError

_FIXED_S = 2e-3
_BYTES_PER_S = 10e9
_REDIS_S = ((500_000, 1.07e-3), (4_000_000, 8.2e-3), (32_000_000, 52e-3))
"""Bytes and seconds, measured."""


def handoff_s(store: str, nbytes: int) -> float:
    """Seconds from a producer's put to a consumer's get being done.

    Args:
        store: `memory`, `shm`, `nccl` or `redis`.
        nbytes: of all tensors together.

    Raises:
        InvalidFieldError: another store.

    >>> handoff_s("redis", 32_000_000), handoff_s("nccl", 80_000_000)
    (0.052, 0.01)
    """
    match store:
        case "memory":
            return 0.0
        case "shm" | "nccl":
            return _FIXED_S + nbytes / _BYTES_PER_S
        case "redis":
            return _redis_s(nbytes)
        case _:
            raise InvalidFieldError("store", f"{store!r} is none of memory, shm, nccl, redis")


def _redis_s(nbytes: int) -> float:
    first, last = _REDIS_S[0], _REDIS_S[-1]
    if nbytes <= first[0]:
        return first[1]
    for (low, low_s), (high, high_s) in pairwise(_REDIS_S):
        if nbytes < high:
            share = log(nbytes / low) / log(high / low)
            return exp(log(low_s) + share * log(high_s / low_s))
    return last[1] * nbytes / last[0]
