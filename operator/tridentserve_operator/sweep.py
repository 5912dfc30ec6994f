"""Finds what was deleted without anybody being told of it.

kopf forgets an object when its deletion is reported. While a watch was broken for longer than the
API server's history, after a restart of the control plane for one, deletions are reported to
nobody: kopf lists anew and takes what it finds, and keeps what it does not find. A pod that is gone
would count as ready for ever, and a pipeline that is gone be made anew, child by child.

So the uids of all that is watched are listed every minute. What was indexed before the list began
and is not in it is gone: the list is a consistent read.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from tridentserve.domain.ids import PipelineName
from tridentserve.errors import TridentServeError

log = logging.getLogger(__name__)

EVERY_S = 60.0


class Lister(Protocol):
    """Lists."""

    async def uids(self, kind: str, namespace: str | None) -> frozenset[str]:
        """Of all objects of a kind that the operator watches; None: in every namespace.

        Raises:
            TridentServeError: not known now.
        """
        ...


class Indexed(Protocol):
    """What is thought to be there."""

    def indexed(self, kind: str) -> Mapping[str, PipelineName]:
        """The pipeline of every object, by its uid."""
        ...

    def overlook(self, gone: frozenset[str]) -> None:
        """See these no longer, and all others."""
        ...


class Sweeper:
    """Compares, and tells of every pipeline that lost something."""

    def __init__(
        self,
        lister: Lister,
        kinds: Collection[str],
        namespaces: Collection[str],
        mark: Callable[[PipelineName], None],
    ) -> None:
        """Do nothing until `attach`; without namespaces all of them are looked at together."""
        self._lister, self._kinds, self._mark = lister, kinds, mark
        self._namespaces = tuple(namespaces) or (None,)
        self._indexed: Indexed | None = None
        self._gone: dict[tuple[str, str | None], Mapping[str, PipelineName]] = {}

    def attach(self, indexed: Indexed) -> None:
        """Look after this."""
        self._indexed = indexed

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Look once at everything; what cannot be listed is taken to be as it was."""
        if self._indexed is None:
            return
        before = self._all_gone()
        for kind in self._kinds:
            for namespace in self._namespaces:
                there = self._there(self._indexed, kind, namespace)
                try:
                    listed = await self._lister.uids(kind, namespace)
                except TridentServeError as error:
                    log.warning("not listed", extra={"kind": kind, "problem": str(error)})
                    continue
                self._gone[kind, namespace] = {
                    uid: name for uid, name in there.items() if uid not in listed
                }
        after = self._all_gone()
        self._indexed.overlook(frozenset(after))
        for name in sorted({after[uid] for uid in after.keys() - before.keys()}):
            log.warning("gone without a word", extra={"pipeline": name})
            self._mark(name)

    def _there(
        self, indexed: Indexed, kind: str, namespace: str | None
    ) -> Mapping[str, PipelineName]:
        return {
            uid: name
            for uid, name in indexed.indexed(kind).items()
            if namespace is None or name.startswith(f"{namespace}/")
        }

    def _all_gone(self) -> Mapping[str, PipelineName]:
        return {uid: name for gone in self._gone.values() for uid, name in gone.items()}
