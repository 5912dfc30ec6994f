"""Events of pods, so that `kubectl describe` tells what happened.

Best effort: an event that cannot be written is dropped, and a repeated one only raises the count of
the first, at 2, 4, 8 … repetitions: a probe that fails every second must not fill the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict

from .api import Api, ApiError
from .specs import Pod
from .wire import Json, timestamp

log = logging.getLogger(__name__)

_QUEUE = 1000
_REMEMBERED = 5000


class EventSink:
    """Takes events from anywhere in the loop and writes them in order, one at a time."""

    def __init__(self, api: Api, node: str) -> None:
        """Keep where to write to, and which node events come from."""
        self._api = api
        self._node = node
        self._queue: asyncio.Queue[tuple[Pod, str, str, str]] = asyncio.Queue(_QUEUE)
        self._known: OrderedDict[tuple[str, str, str], tuple[str, int]] = OrderedDict()

    def post(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        """Writes an event soon; `kind` is Normal or Warning."""
        if not self._queue.full():
            self._queue.put_nowait((pod, kind, reason, message))

    async def run(self) -> None:
        """Writes events until it is cancelled."""
        while True:
            pod, kind, reason, message = await self._queue.get()
            try:
                await self._write(pod, kind, reason, message)
            except ApiError as error:
                log.debug("an event is dropped", extra={"pod": pod.key, "error": str(error)})

    async def _write(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        key = (pod.uid, reason, message)
        path = f"/api/v1/namespaces/{pod.namespace}/events"
        name, count = self._known.pop(key, ("", 0))
        count += 1
        if not name:
            name = f"{pod.name[:200]}.{uuid.uuid4().hex[:16]}"
            await self._api.create(path, self._event(pod, name, kind, reason, message))
        elif count & (count - 1) == 0:
            body = {"count": count, "lastTimestamp": timestamp(time.time())}
            await self._api.patch(f"{path}/{name}", body)
        self._known[key] = (name, count)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _event(self, pod: Pod, name: str, kind: str, reason: str, message: str) -> Json:
        now = timestamp(time.time())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": pod.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod.name,
                "namespace": pod.namespace,
                "uid": pod.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message[:1000],
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "process-node", "host": self._node},
        }
