"""The one thread that runs models, and the proof that it moves.

All runners of a process share it: two models on one device or one set of cores would only slow
each other down, and torch keeps gradient and inference modes per thread. The event loop stays free
to answer probes and cancellations meanwhile.

A call beats by every step that it reports. One that is silent for `stall_s`, or a thread that died,
is a `problem()`, which fails the liveness probe: a server that answers "healthy" after its engine
hung is the worst of both.

It does not break a call off, since Python threads cannot be: a call ends itself where it reports a
step.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from tridentserve.errors import UnavailableError

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

Clock = Callable[[], float]


class Engine:
    """Runs one call after another in a thread of its own."""

    def __init__(self, *, stall_s: float, clock: Clock = time.monotonic) -> None:
        """Prepare; nothing runs before `start`."""
        self._stall_s, self._clock = stall_s, clock
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._interrupted = threading.Event()
        # A daemon, so that a call that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._watched_since: float | None = None
        self._death: str | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the thread runs; a closed engine's ends with its last call."""
        return self._thread.is_alive()

    async def call(self, work: Callable[[], _T], *, watched: bool = True) -> _T:
        """Run `work` in the thread, after what was asked before.

        Cancelling the caller leaves running work alone; its result is dropped.

        Args:
            work: what to run.
            watched: False for what reports no progress and has no bound (loading a model).

        Raises:
            UnavailableError: the thread is dead, or dies of this very call.
            Exception: whatever `work` raises.
        """
        future: Future[_T] = Future()

        def run() -> _T:
            self._interrupted.clear()
            self._watched_since = self._clock() if watched else None
            try:
                return work()
            finally:
                self._watched_since = None

        with self._lock:
            if self._death is not None:
                raise UnavailableError(self._death)
            self._calls.put((run, future))
        waiting = asyncio.wrap_future(future)
        try:
            return await waiting
        finally:
            # An error's traceback holds this frame, and the two hold the error: a ring that would
            # keep every tensor of the failed call until the garbage collector comes by.
            del future, waiting

    def beat(self) -> None:
        """Say that the running call made progress; called by it."""
        if self._watched_since is not None:
            self._watched_since = self._clock()

    def sleep(self, seconds: float) -> None:
        """For runners that only wait: sleep, or return early when the call is interrupted."""
        self._interrupted.wait(seconds)

    def interrupt(self) -> None:
        """Wake the running call from `sleep`: nobody wants its result any more."""
        self._interrupted.set()

    def problem(self) -> str | None:
        """What is wrong with the engine, as a sentence; None where nothing is."""
        since = self._watched_since
        if self._death is not None:
            return self._death
        if since is not None and self._clock() - since > self._stall_s:
            return f"a call has made no step for more than {self._stall_s:g} s"
        return None

    def close(self) -> None:
        """Let the thread end after the calls asked for; does not wait for it."""
        self.interrupt()
        self._calls.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread of a closed engine to end."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  carried to the caller, who handles it
                future.set_exception(error)
            except BaseException as error:  # noqa: BLE001  a model may call sys.exit
                _log.exception("engine thread died")
                self._die(f"the engine thread died: {error!r}", future)
                return
            del item, call, future  # else the last call's tensors live until the next one

    def _die(self, reason: str, future: Future[Any]) -> None:
        with self._lock:
            self._death = reason
        future.set_exception(UnavailableError(reason))
        while not self._calls.empty():
            if (item := self._calls.get()) is not None and item[1].set_running_or_notify_cancel():
                item[1].set_exception(UnavailableError(reason))
