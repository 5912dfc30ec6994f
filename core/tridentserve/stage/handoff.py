"""Moving tensors between this worker and its stores, in threads, counted and never leaked.

The network store has threads of its own: a Redis that is frozen holds each of them for seconds, and
hops by shared memory must not wait behind it.

What is put is noted in `References` before anybody hears of it. What is to be deleted while a store
cannot be reached stays on a list that `tidy` works off, so that a Redis which was down for a minute
does not keep tensors until they expire.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from tridentserve.domain.ids import MemoryDomain, SegmentId
from tridentserve.domain.stages import Stage
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import (
    ExhaustedError,
    InvalidFieldError,
    TensorMissingError,
    UnavailableError,
)
from tridentserve.rpc.status import STORE_FULL, STORE_UNREACHABLE
from tridentserve.stage.patience import Patience
from tridentserve.stage.references import References
from tridentserve.store.base import TensorStore
from tridentserve.store.opening import Stores
from tridentserve.telemetry.metrics import WorkerMetrics

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_THREADS = 4
"""Transfers at the same time, by memory and by network each; copying is bound by memory, so more
gain nothing."""


class Handoff:
    """The stores of one worker as its Runs use them."""

    def __init__(
        self,
        *,
        stores: Stores,
        references: References,
        metrics: WorkerMetrics,
        ttl_s: float,
        now: Callable[[], float] = time.time,
        patience: Patience | None = None,
    ) -> None:
        """Take over the stores; `ttl_s` holds where a Run says nothing else."""
        self._stores, self._references, self._metrics = stores, references, metrics
        self._ttl_s, self._now = ttl_s, now
        self._patience = patience or Patience()
        self._local_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="local-transfer")
        self._network_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="network-transfer")
        self._doomed: list[TensorRef] = []
        self._released = asyncio.Event()
        self._released.set()

    @property
    def held(self) -> int:
        """Hand-offs that nobody has released yet."""
        return len(self._references)

    @property
    def domain(self) -> MemoryDomain | None:
        """The memory domain that this worker is a member of."""
        return self._stores.domain

    async def fetch(
        self, stage: Stage, ref: TensorRef, *, given_up: asyncio.Event
    ) -> Mapping[str, Tensor]:
        """Read what another worker handed off; tried again for a while, unless it is given up.

        Raises:
            TensorUnavailableError: gone, corrupted, or out of this worker's reach.
            UnavailableError: the store cannot be reached.
        """
        tensors, seconds = await self._patience.keep_trying(
            lambda: self._timed(ref.domain, lambda: self._stores.get(ref)), given_up
        )
        self._count(stage, ref, "get", seconds)
        return tensors

    async def put(
        self,
        stage: Stage,
        segment: SegmentId,
        tensors: Mapping[str, Tensor],
        *,
        reader: MemoryDomain | None,
        ttl_s: float,
        given_up: asyncio.Event,
    ) -> TensorRef:
        """Store outputs where `reader` can get at them; 0 seconds mean the default.

        Tried again for a while, unless it is given up. Not to be cancelled half way: it would leave
        a tensor that nobody knows.

        Raises:
            ExhaustedError: no room.
            UnavailableError: no store that can be reached.
        """
        with _reasons():
            targets = self._stores.targets(reader)
        ref, seconds = await self._patience.keep_trying(
            lambda: self._put_into(targets, tensors, ttl_s or self._ttl_s), given_up
        )
        self._references.add(ref, segment)
        self._released.clear()
        self._count(stage, ref, "put", seconds)
        if reader is not None and reader == self.domain and ref.domain != reader:
            _log.warning("memory domain full", extra={"segment": segment, "store": ref.store})
            self._metrics.fell_back(stage)
        return ref

    async def export(self, ref: TensorRef, store: str) -> TensorRef:
        """Copy an own tensor into another store; asked again, it answers the same copy.

        Raises:
            InvalidFieldError: this worker has no store of that name.
            TensorUnavailableError: not this worker's (any more).
            ExhaustedError: no room.
            UnavailableError: the store cannot be reached.
        """
        if store not in self._stores.names:
            names = " or ".join(self._stores.names) or "none is configured"
            raise InvalidFieldError("store", f"{store!r} is not here; use {names}")
        own = self._references.find(ref)
        if own is None:
            raise TensorMissingError(f"{ref.key} is not held by this worker")
        if (known := self._references.copy_in(own, store)) is not None:
            return known
        ttl_s = max(own.expires_s - self._now(), 1.0)
        # Shielded: a caller that hangs up must not leave a copy that nobody owns.
        return await asyncio.shield(self._export(own, store, ttl_s))

    async def _export(self, own: TensorRef, store: str, ttl_s: float) -> TensorRef:
        # Whatever the direction, one side of it is the network store.
        copy, _ = await self._timed(
            None, lambda: self._stores.export(own, store, ttl_s=ttl_s, now=self._now())
        )
        if not self._references.add_copy(own, copy):
            await self._delete([copy])
            raise TensorMissingError(f"{own.key} was released while it was exported")
        return copy

    async def release(self, refs: Iterable[TensorRef]) -> None:
        """Forget own tensors and their copies; others' are left alone."""
        # Shielded: what is out of the books already must go, whoever hangs up.
        await asyncio.shield(self._delete(self._references.pop(refs)))

    async def release_orphans(self, refs: Iterable[TensorRef]) -> None:
        """Delete what a process made that is gone: nobody else can any more.

        Raises:
            UnavailableError: a store cannot be reached; asking again is safe.
        """
        for ref in refs:
            await self._timed(ref.domain, partial(self._stores.discard, ref))

    async def release_segment(self, segment: SegmentId) -> None:
        """Forget what a segment made."""
        await self.release(self._references.of_segment(segment))

    async def wait_released(self) -> None:
        """Return when nobody needs this worker's tensors any more."""
        await self._released.wait()

    async def tidy(self) -> None:
        """Delete what expired and what could not be deleted before; called every few seconds."""
        doomed, self._doomed = self._doomed, []
        await self._delete([*doomed, *self._references.pop_expired(self._now())])
        await self._timed(None, lambda: self._stores.reap(now=self._now()))

    async def close(self) -> None:
        """Delete whatever is left, and close the stores."""
        await self._delete([*self._doomed, *self._references.pop_all()])
        await asyncio.to_thread(self._local_threads.shutdown)
        await asyncio.to_thread(self._network_threads.shutdown)
        # Last: a put that was broken off may just have ended, and nobody knows its tensor but the
        # store.
        await asyncio.to_thread(self._stores.close)

    async def _delete(self, refs: list[TensorRef]) -> None:
        for ref in refs:
            try:
                await self._timed(ref.domain, partial(self._stores.delete, ref))
            except UnavailableError as error:
                _log.warning("tensor not deleted", extra={"key": ref.key, "problem": str(error)})
                self._doomed.append(ref)
        if not self._references:
            self._released.set()

    async def _put_into(
        self, targets: Sequence[TensorStore], tensors: Mapping[str, Tensor], ttl_s: float
    ) -> tuple[TensorRef, float]:
        """Put into the first that has room."""
        *others, last = (
            (store.domain, partial(store.put, tensors, ttl_s=ttl_s, now=self._now()))
            for store in targets
        )
        for domain, work in others:
            with suppress(ExhaustedError):
                return await self._timed(domain, work)
        return await self._timed(*last)

    async def _timed(self, domain: MemoryDomain | None, work: Callable[[], _T]) -> tuple[_T, float]:
        """Do it in a thread for the store of this domain, None for the network's."""
        threads = self._network_threads if domain is None else self._local_threads

        def run() -> tuple[_T, float]:
            start_s = time.perf_counter()
            return work(), time.perf_counter() - start_s

        with _reasons():
            return await asyncio.get_running_loop().run_in_executor(threads, run)

    def _count(self, stage: Stage, ref: TensorRef, direction: str, seconds: float) -> None:
        self._metrics.moved(
            stage, store=ref.store, direction=direction, size_bytes=ref.size_bytes, seconds=seconds
        )


@contextmanager
def _reasons() -> Iterator[None]:
    """Add the reasons of the protocol, which stores do not know.

    So a full store is told from a full worker, and a store that is away from a worker that is.
    """
    try:
        yield
    except ExhaustedError as error:
        raise ExhaustedError(
            str(error), reason=STORE_FULL, retry_after_s=error.retry_after_s
        ) from error
    except UnavailableError as error:
        raise UnavailableError(str(error), reason=STORE_UNREACHABLE) from error
    except OSError as error:
        # Whatever the system refuses is this worker's trouble: another one may well do it.
        raise UnavailableError(f"store: {error}", reason=STORE_UNREACHABLE) from error
