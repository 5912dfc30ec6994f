"""What a row of probe answers means. Pure; `checks` asks the questions.

| probe     | at first    | `failureThreshold` failures | `successThreshold` successes |
| --------- | ----------- | --------------------------- | ---------------------------- |
| startup   | not started | the container is killed     | started, never asked again   |
| readiness | not ready   | not ready                   | ready                        |
| liveness  | alive       | the container is killed     | alive                        |

Readiness and liveness wait for startup (kubernetes: pkg/kubelet/prober/worker.go).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .specs import Container, Probe


class Verdict(Enum):
    """What changed by an answer."""

    SAME = "same"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(slots=True)
class ProbeState:
    """Counts answers of one probe and says when its verdict turns."""

    probe: Probe
    passing: bool
    """The verdict before any answer: False for startup and readiness, True for liveness."""
    _run: int = field(default=0, init=False)
    _last: bool | None = field(default=None, init=False)
    _failed_for_good: bool = field(default=False, init=False)

    def answer(self, success: bool) -> Verdict:
        """Takes one answer; PASSED and FAILED are told once, when the threshold is reached."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        if success:
            self._failed_for_good = False
            if self.passing or self._run < self.probe.success_threshold:
                return Verdict.SAME
            self.passing = True
            return Verdict.PASSED
        if self._failed_for_good or self._run < self.probe.failure_threshold:
            return Verdict.SAME
        self.passing = False
        self._failed_for_good = True
        return Verdict.FAILED


@dataclass(slots=True)
class Health:
    """What the probes of one run of a container have found so far."""

    started: bool
    ready_verdict: bool

    @classmethod
    def of(cls, container: Container) -> Health:
        """The state right after the start: without a probe the answer is yes."""
        return cls(started=container.startup is None, ready_verdict=container.readiness is None)

    @property
    def ready(self) -> bool:
        """Whether the container may get work: it has started and readiness says so."""
        return self.started and self.ready_verdict
