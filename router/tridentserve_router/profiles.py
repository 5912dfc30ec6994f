"""The profile that the router's own pipeline names, as it is now.

A ConfigMap is watched, like everything else that the router goes by: mounted as a file, another
name in the spec would be another pod template and so a restart, and an edit would take a minute to
arrive. A profile that is missing or wrong changes nothing: the one before stays, and a router that
has none learns from its requests, as one without `spec.profile` does. The operator reads the same
and says in `Degraded` what is wrong; here it is only logged.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from tridentserve.domain.ids import PipelineName
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_served
from tridentserve.manifest.base import Object
from tridentserve.manifest.profile_choice import ConfigMapKey, ProfileChoice
from tridentserve.manifest.profile_served import ServedProfile
from tridentserve_router import kube

_log = logging.getLogger(__name__)


class ConfigMapSource(Protocol):
    """Says what is in a ConfigMap of the pipeline's namespace."""

    def watch(self, name: str) -> AsyncIterator[Object | None]:
        """All of it, whenever it changes; None where there is none."""
        ...


class KubernetesConfigMaps:
    """From the API server."""

    def __init__(self, pipeline: PipelineName) -> None:
        """Watch in the pipeline's own namespace."""
        self._path = f"/api/v1/namespaces/{pipeline.partition('/')[0]}/configmaps"

    async def watch(self, name: str) -> AsyncIterator[Object | None]:
        """The one of this name."""
        query = {"fieldSelector": f"metadata.name={name}"}
        async for picture in kube.follow(self._path, query):
            body = picture.get(name)
            yield None if body is None else dict(body)


class MemoryConfigMaps:
    """ConfigMaps that a test, or a process without a cluster, tells it of."""

    def __init__(self) -> None:
        """Begin without any."""
        self._data: dict[str, Object] = {}
        self._changed = asyncio.Event()

    def put(self, name: str, data: Mapping[str, str]) -> None:
        """Create or replace one."""
        self._data[name] = {"data": dict(data)}
        self._changed.set()

    async def watch(self, name: str) -> AsyncIterator[Object | None]:
        """The one of this name."""
        while True:
            self._changed.clear()
            yield self._data.get(name)
            await self._changed.wait()


class ProfileFollower:
    """Follows one choice after the other, and tells the profile whenever it is another one."""

    def __init__(
        self,
        namespace: str,
        source: ConfigMapSource,
        tell: Callable[[ServedProfile | None], None],
    ) -> None:
        """Follow nothing yet; `tell` gets None where the pipeline names no profile."""
        self._namespace, self._source, self._tell = namespace, source, tell
        self._choice: ProfileChoice | None = None
        self._told: ServedProfile | None = None
        self._task: asyncio.Task[None] | None = None

    def follow(self, choice: ProfileChoice | None) -> None:
        """Go by this choice from now on."""
        if choice == self._choice:
            return
        self._choice = choice
        self._stop()
        if choice is not None and choice.config_map_ref is not None:
            self._task = asyncio.create_task(self._watch(choice.config_map_ref), name="profile")
            self._task.add_done_callback(_report)
        elif choice is not None and choice.name is not None:
            self._found(profile_served.builtin(choice.name))
        else:
            self._found(None)

    async def close(self) -> None:
        """Watch nothing any more."""
        task = self._task
        self._stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, ref: ConfigMapKey) -> None:
        said = ""
        async for body in self._source.watch(ref.name):
            try:
                profile = profile_served.from_config_map(ref, self._namespace, body)
            except InvalidFieldError as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("profile not understood", extra={"problem": said})
                continue
            said = ""
            self._found(profile)

    def _found(self, profile: ServedProfile | None) -> None:
        if profile != self._told:
            self._told = profile
            self._tell(profile)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None


def _report(task: asyncio.Task[None]) -> None:
    """A defect here must cost the profile's changes, not the router."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("the profile is not followed any more", exc_info=task.exception())
