"""A list that stays fresh: list, watch, resume, and list again when the server asks for it.

Level-based: what matters is the set of objects as it is now. After any interruption `run` lists
again and reports what vanished meanwhile as deleted, so a consumer never misses the end of an
object, though it may miss what lay between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from .api import Api, ApiError
from .wire import Json

log = logging.getLogger(__name__)

_RETRY_S = 0.5


class Collection:
    """Objects of one kind, by uid, kept fresh by `run`."""

    def __init__(
        self,
        api: Api,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        changed: Callable[[Json], None] = lambda _: None,
        deleted: Callable[[Json], None] = lambda _: None,
    ) -> None:
        """Keep what to list and whom to tell; nothing is listed before `run`."""
        self.objects: dict[str, Json] = {}
        self.listed = asyncio.Event()
        self._api = api
        self._path = path
        self._query = dict(query or {})
        self._changed = changed
        self._deleted = deleted

    async def run(self) -> None:
        """Keeps the collection fresh until it is cancelled."""
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                version = await self._watch(version)
            except ApiError as error:
                if error.code == 410:
                    version = ""
                    continue
                log.warning("a watch is resumed", extra={"path": self._path, "error": str(error)})
                # The server may have been restarted with another history: only a list is sure.
                version = ""
                await asyncio.sleep(_RETRY_S)

    async def _list(self) -> str:
        listing = await self._api.get(self._path, self._query)
        found = {item["metadata"]["uid"]: item for item in listing.get("items") or ()}
        for uid in [uid for uid in self.objects if uid not in found]:
            self._deleted(self.objects.pop(uid))
        for uid, item in found.items():
            self.objects[uid] = item
            self._changed(item)
        self.listed.set()
        return str(listing["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        query = {**self._query, "resourceVersion": version, "timeoutSeconds": "600"}
        async for event in self._api.watch(self._path, query):
            item = event["object"]
            version = item["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            uid = item["metadata"]["uid"]
            if event["type"] == "DELETED":
                self.objects.pop(uid, None)
                self._deleted(item)
            else:
                self.objects[uid] = item
                self._changed(item)
        return version
