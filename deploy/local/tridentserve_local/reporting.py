"""Tells the API server how a pod stands, and at last that it may be deleted.

One writer a pod: changes while a write is under way are told together by the next one, and a write
that fails is repeated with what is true by then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from .api import STRATEGIC_MERGE, Api, ApiError
from .parsing import parse_conditions
from .specs import Condition, Pod
from .status import PodView, build_status
from .wire import Json

log = logging.getLogger(__name__)

_RETRY_S = 0.5
_GONE = (404, 409)  # deleted, or another pod of the same name is there: the uid differs


class Reporter:
    """Writes one pod's status."""

    def __init__(self, api: Api, view: Callable[[], PodView | None]) -> None:
        """Keep whom to tell, and what to ask for what there is to tell."""
        self._api = api
        self._view = view
        self._dirty = asyncio.Event()
        self._closed = False
        self._written: Json | None = None
        self._conditions: dict[str, Condition] = {}

    def changed(self) -> None:
        """Something may have changed that the API server should know."""
        self._dirty.set()

    def close(self) -> None:
        """The object is gone: write nothing more."""
        self._closed = True

    async def run(self) -> None:
        """Writes the status whenever it differs from what was written last."""
        while not self._closed:
            await self._dirty.wait()
            self._dirty.clear()
            if not await self._write():
                await asyncio.sleep(_RETRY_S)
                self._dirty.set()

    async def finish(self, pod: Pod) -> None:
        """Writes the last status and deletes the object for good."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        while not self._closed:
            try:
                if await self._write():
                    await self._api.delete(_path(pod), options)
                    return
            except ApiError as error:
                if error.code in _GONE:
                    return
                log.warning("a pod is not deleted yet", extra={"pod": pod.key, "error": str(error)})
            await asyncio.sleep(_RETRY_S)

    async def _write(self) -> bool:
        """Writes what has changed; False if that has to be tried again."""
        view = self._view()
        if view is None or self._closed:
            return True
        status = build_status(view, self._known(view.pod), time.time())
        if status == self._written:
            return True
        body = {"metadata": {"uid": view.pod.uid}, "status": _patch(status)}
        try:
            answer = await self._api.patch(f"{_path(view.pod)}/status", body, STRATEGIC_MERGE)
        except ApiError as error:
            if error.code in _GONE:
                self.close()
                return True
            log.warning("a status is not written", extra={"pod": view.pod.key, "error": str(error)})
            return False
        self._written = status
        self._conditions = parse_conditions(answer["status"])
        return True

    def _known(self, pod: Pod) -> dict[str, Condition]:
        """Conditions as the API server has them.

        Ours are from the last answer, since the watch lags behind what was written; readiness
        gates, which others write, are from the watch.
        """
        gates = {
            kind: pod.conditions[kind] for kind in pod.readiness_gates if kind in pod.conditions
        }
        return {**pod.conditions, **self._conditions, **gates}


def _patch(status: Json) -> Json:
    """The status as a strategic merge patch.

    Addresses would be merged by `ip`: a pod that runs again on a node that came back would have
    its old one too, and the API server refuses two.
    """
    if "podIPs" not in status:
        return status
    return {**status, "podIPs": [{"$patch": "replace"}, *status["podIPs"]]}


def _path(pod: Pod) -> str:
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
