"""One container of a pod: started, probed, restarted, ended.

`ContainerRunner.run` is the container's whole life, `stop` ends it from outside. The view that it
leaves in `view` is all that others see of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .api import ApiError
from .backoff import Backoff, BackoffPolicy, should_restart
from .checks import check
from .environment import ConfigError
from .grace import Grace
from .launching import Launch
from .probes import Health, ProbeState, Verdict
from .processes import Process, StartError, kill_marked, start
from .specs import Action, Container, Probe
from .status import ContainerView, Running, Terminated, Waiting, terminated

_RETRY_S = 2.0
_MESSAGE_BYTES = 2048
_LAST_WISH_S = 2.0
"""Given after SIGTERM even when preStop used the whole grace period up, as the kubelet does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a container needs to know of its pod and node."""

    prepare: Callable[[], Awaitable[Launch]]
    log: Callable[[int], Path]
    """The log file of the n-th restart."""
    mark: str
    pod_ip: str
    restart_policy: str
    grace_s: float
    backoff: BackoffPolicy
    changed: Callable[[], None]
    event: Callable[[str, str, str], None]
    """Type, reason and message of an event of the pod."""


class ContainerRunner:
    """Runs one container; `run` once, `stop` from any other task."""

    def __init__(self, spec: Container, setting: Setting, restarts: int = 0) -> None:
        """Keep what to run; `restarts` counts those before this runner."""
        self.view = ContainerView(spec=spec, restarts=restarts)
        self._spec = spec
        self._setting = setting
        self._backoff = Backoff(setting.backoff)
        self._stopping = asyncio.Event()
        self._started = asyncio.Event()
        self._process: Process | None = None
        self._launch: Launch | None = None
        self.finished = False
        """Whether it has ended for good."""

    async def run(self) -> None:
        """Starts the container, again as often as its policy says, until it has ended for good."""
        try:
            await self._run_until_done()
        finally:
            self.finished = True

    async def _run_until_done(self) -> None:
        while not self._stopping.is_set():
            launch = await self._prepared()
            if launch is None or self._stopping.is_set():
                return
            began = time.monotonic()
            code = await self._run_once(launch)
            if self._stopping.is_set() or not should_restart(self._setting.restart_policy, code):
                return
            await self._back_off(time.monotonic() - began)

    async def stop(self, grace: Grace) -> None:
        """Ends the container for good, within the grace period."""
        self._stopping.set()
        self._set(ready=False)
        if self._process is not None:
            await self._terminate(self._process, grace)

    async def wait_started(self) -> None:
        """Until it has started, its startup probe included, or never will."""
        waits = {asyncio.ensure_future(e.wait()) for e in (self._started, self._stopping)}
        await asyncio.wait(waits, return_when="FIRST_COMPLETED")
        for task in waits:
            task.cancel()

    def kill(self) -> None:
        """SIGKILL, as a fault: the container is restarted as after any crash."""
        if self._process is not None:
            self._process.kill()
        kill_marked(self._setting.mark)

    async def _prepared(self) -> Launch | None:
        """What to start, waiting until it can be; None when the container is to stop."""
        while not self._stopping.is_set():
            try:
                return await self._setting.prepare()
            except ConfigError as error:
                reason = "CreateContainerConfigError"
                self._wait_state(reason, str(error))
                self._setting.event("Warning", "Failed", f"Error: {error}")
            except (ApiError, OSError) as error:
                self._wait_state("CreateContainerError", str(error))
            await self._pause(_RETRY_S)
        return None

    async def _run_once(self, launch: Launch) -> int:
        """One run of the process, probes beside it; its exit code as Kubernetes counts."""
        name, container_id = self._spec.name, f"process://{uuid.uuid4().hex}"
        log = self._setting.log(self.view.restarts)
        log.parent.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self._launch = launch
        try:
            process = start(
                launch.command, environment=launch.environment, folder=launch.folder, output=log
            )
        except StartError as error:
            log.touch()
            failed = terminated(128, started_at=now, now=now, container_id=container_id)
            self._end(replace(failed, reason="StartError", message=str(error)))
            self._setting.event("Warning", "Failed", f"Error: {error}")
            return 128
        self._process = process
        health = Health.of(self._spec)
        self._set(state=Running(since=now), container_id=container_id)
        self._publish(health)
        self._setting.event("Normal", "Started", f"Started container {name}")
        watcher = asyncio.ensure_future(self._watch(process, health))
        try:
            code = await process.wait()
        finally:
            watcher.cancel()
            self._process = None
        with suppress(asyncio.CancelledError):
            await watcher
        kill_marked(self._setting.mark)  # what left the process group would outlive its container
        end = terminated(code, started_at=now, now=time.time(), container_id=container_id)
        if end.exit_code != 0 and self._spec.log_on_error:
            end = replace(end, message=_tail(log))
        self._end(end)
        return end.exit_code

    async def _watch(self, process: Process, health: Health) -> None:
        """PostStart and the probes of one run."""
        if self._spec.post_start is not None:
            problem = await self._check(self._spec.post_start, self._setting.grace_s)
            if problem is not None:
                self._setting.event("Warning", "FailedPostStartHook", problem)
                await self._terminate(process, Grace(self._setting.grace_s))
        if self._spec.startup is not None:
            await self._probe("Startup", self._spec.startup, process, health)
        if self._spec.startup is not None and not health.started:
            return
        async with asyncio.TaskGroup() as group:
            for kind, probe in (
                ("Readiness", self._spec.readiness),
                ("Liveness", self._spec.liveness),
            ):
                if probe is not None:
                    group.create_task(self._probe(kind, probe, process, health))

    async def _probe(self, kind: str, probe: Probe, process: Process, health: Health) -> None:
        """Asks until the run ends; a startup probe only until its verdict."""
        state = ProbeState(probe, passing=kind == "Liveness")
        await asyncio.sleep(probe.initial_delay_s)
        while True:
            problem = await self._check(probe.action, probe.timeout_s)
            if problem is not None:
                self._setting.event("Warning", "Unhealthy", f"{kind} probe failed: {problem}")
            verdict = state.answer(problem is None)
            if kind == "Readiness" and verdict is not Verdict.SAME:
                health.ready_verdict = verdict is Verdict.PASSED
                self._publish(health)
            elif kind == "Startup" and verdict is Verdict.PASSED:
                health.started = True
                self._publish(health)
                return
            elif kind != "Readiness" and verdict is Verdict.FAILED:
                message = (
                    f"Container {self._spec.name} failed {kind.lower()} probe, will be restarted"
                )
                self._setting.event("Normal", "Killing", message)
                grace_s = self._setting.grace_s if probe.grace_s is None else probe.grace_s
                await self._terminate(process, Grace(grace_s))
                return
            await asyncio.sleep(probe.period_s)

    async def _terminate(self, process: Process, grace: Grace) -> None:
        """The preStop hook, SIGTERM, the rest of the grace period, SIGKILL."""
        self._set(ready=False)
        hook = self._spec.pre_stop
        at_least_s = 0.0
        if hook is not None and process.returncode is None:
            at_least_s = _LAST_WISH_S
            await grace.outlasts(self._pre_stop(hook))
        process.signal(signal.SIGTERM)
        if not await grace.outlasts(process.wait(), at_least_s):
            process.kill()
            await process.wait()

    async def _pre_stop(self, hook: Action) -> None:
        problem = await self._check(hook, float("inf"))
        if problem is not None:
            self._setting.event("Warning", "FailedPreStopHook", problem)

    async def _check(self, action: Action, timeout_s: float) -> str | None:
        return await check(
            action,
            pod_ip=self._setting.pod_ip,
            ports=self._spec.ports,
            run=self._execute,
            timeout_s=timeout_s,
        )

    async def _execute(self, command: tuple[str, ...]) -> tuple[int, str]:
        """Another command in the container's environment: exit code and first output."""
        if self._launch is None:
            return 1, "the container has not started"
        output = os.memfd_create("output")
        try:
            process = start(
                self._launch.rewritten(command),
                environment=self._launch.environment,
                folder=self._launch.folder,
                output=output,
            )
            try:
                code = await process.wait()
            finally:
                process.kill()
            return code, os.pread(output, _MESSAGE_BYTES, 0).decode(errors="replace")
        except StartError as error:
            return 126, str(error)
        finally:
            os.close(output)

    async def _back_off(self, ran_s: float) -> None:
        delay_s = self._backoff.next_delay_s(ran_s)
        if delay_s > 0:
            message = f"back-off {delay_s:g}s restarting failed container={self._spec.name}"
            self._wait_state("CrashLoopBackOff", message)
            self._setting.event("Warning", "BackOff", message)
            await self._pause(delay_s)
        if not self._stopping.is_set():
            self.view = replace(self.view, restarts=self.view.restarts + 1)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _publish(self, health: Health) -> None:
        if health.started:
            self._started.set()
        self._set(started=health.started, ready=health.ready and not self._stopping.is_set())

    def _end(self, end: Terminated) -> None:
        self._set(state=end, last=end, started=False, ready=False)

    def _wait_state(self, reason: str, message: str) -> None:
        self._set(state=Waiting(reason=reason, message=message))

    def _set(self, **changes: object) -> None:
        view = replace(self.view, **changes)  # type: ignore[arg-type]
        if view != self.view:
            self.view = view
            self._setting.changed()


def _tail(log: Path) -> str:
    """The end of a log, for the message of a container that failed."""
    with log.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _MESSAGE_BYTES))
        return stream.read().decode(errors="replace")
