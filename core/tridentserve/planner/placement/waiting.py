"""How likely a request waits, and how long: Erlang's formula, and the utilisation that it allows.

A pool serves a class of work with *groups* of devices; c groups are c servers of an M/G/c queue.
The probability to wait is that of M/M/c (Erlang C). The mean wait scales it by the variability of
the service times (Allen and Cunneen): exact for M/M/c and M/G/1, near enough between.

Pure arithmetic; it knows nothing of devices, of deadlines or of who comes first. Arrivals are taken
as Poisson: bursts wait longer than this says, regular ones less.

>>> round(waiting_probability(1, 0.5), 3)
0.5
>>> round(waiting_probability(16, 0.875), 2)
0.51
"""

from functools import lru_cache

_BISECTIONS = 40


def waiting_probability(servers: int, utilisation: float) -> float:
    """Probability that a request finds all servers busy (Erlang C); 1 from saturation on."""
    if utilisation <= 0 or servers < 1:
        return 0.0 if utilisation <= 0 else 1.0
    if utilisation >= 1:
        return 1.0
    offered = servers * utilisation
    blocking = 1.0
    for count in range(1, servers + 1):
        blocking = offered * blocking / (count + offered * blocking)
    return blocking / (1 - utilisation * (1 - blocking))


def mean_wait_s(servers: int, utilisation: float, service_s: float, scv: float = 1.0) -> float:
    """Mean seconds before service begins; infinite from saturation on.

    Args:
        servers: groups of devices that serve.
        utilisation: share of their time that is asked for.
        service_s: mean seconds of one service.
        scv: squared coefficient of variation of the seconds of service.
    """
    if utilisation <= 0:
        return 0.0
    if utilisation >= 1 or servers < 1:
        return float("inf")
    probability = waiting_probability(servers, utilisation)
    return probability * service_s * (1 + scv) / 2 / (servers * (1 - utilisation))


@lru_cache(maxsize=4096)
def admissible_utilisation(servers: int, probability: float) -> float:
    """The largest utilisation at which no more than this share of the requests waits.

    It grows with the number of servers: that is the gain of pooling.

    >>> round(admissible_utilisation(1, 0.5), 2), round(admissible_utilisation(16, 0.5), 2)
    (0.5, 0.87)
    """
    if servers < 1:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if waiting_probability(servers, middle) <= probability:
            low = middle
        else:
            high = middle
    return low
