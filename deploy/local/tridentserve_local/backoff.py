"""When a container that ended is started again. Pure.

The kubelet's rule with shorter times: the first restart is at once, each further one waits twice as
long up to a cap, and a container that ran for long enough starts over. The kubelet waits 10 s to 5
min; whoever sits before a laptop, or waits for a test, should not.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """How long to wait between restarts."""

    initial_s: float = 1.0
    factor: float = 2.0
    limit_s: float = 30.0
    reset_after_s: float = 60.0
    """A container that ran this long is taken for healthy: its next crash counts as the first."""


@dataclass(slots=True)
class Backoff:
    """The waiting time of one container, which grows with each crash."""

    policy: BackoffPolicy
    _crashes: int = 0

    def next_delay_s(self, ran_s: float) -> float:
        """Seconds to wait before the restart, given how long the container ran."""
        if ran_s >= self.policy.reset_after_s:
            self._crashes = 0
        self._crashes += 1
        if self._crashes == 1:
            return 0.0
        exponent = min(self._crashes - 2, 32)  # beyond, a float of any factor would overflow
        return min(self.policy.initial_s * self.policy.factor**exponent, self.policy.limit_s)


def should_restart(restart_policy: str, exit_code: int) -> bool:
    """Whether a pod's policy starts a container again that ended with this code."""
    return restart_policy == "Always" or (restart_policy == "OnFailure" and exit_code != 0)
