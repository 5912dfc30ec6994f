"""The router's own DiffusionPipeline, as it is now: an edit takes effect without a restart."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from tridentserve.domain.ids import PipelineName, PlanId
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import v1alpha1
from tridentserve.manifest.profile_choice import ProfileChoice
from tridentserve_router import kube

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What the router reads of it."""

    spec: PipelineSpec
    plan: PlanId
    """Of the placement plan in force; empty before the operator wrote one."""
    profile: ProfileChoice | None = None
    """Which profile it names."""


class PipelineSource(Protocol):
    """Says what is asked for."""

    def watch(self) -> AsyncIterator[Pipeline]:
        """The pipeline, whenever it changes; the first one comes as soon as it is known."""
        ...


class KubernetesPipeline:
    """The custom resource, from the API server."""

    def __init__(self, name: PipelineName) -> None:
        """Watch the one object of this name."""
        namespace, _, self._object = name.partition("/")
        self._path = f"/apis/tridentserve.io/v1alpha1/namespaces/{namespace}/diffusionpipelines"
        self._query = {"fieldSelector": f"metadata.name={self._object}"}

    async def watch(self) -> AsyncIterator[Pipeline]:
        """The pipeline, whenever it changes; one that is deleted or unreadable changes nothing."""
        last: Pipeline | None = None
        async for picture in kube.follow(self._path, self._query):
            body = picture.get(self._object)
            if body is None:
                continue
            try:
                pipeline = read_pipeline(body)
            except InvalidFieldError as error:
                _log.warning("pipeline not understood", extra={"problem": str(error)})
                continue
            if pipeline != last:
                last = pipeline
                yield pipeline


def read_pipeline(body: kube.Object) -> Pipeline:
    """A pipeline of the API server.

    Raises:
        InvalidFieldError: it is of a form that this version does not know.
    """
    manifest = v1alpha1.parse_served(body)
    plan = manifest.status.plan
    return Pipeline(
        spec=manifest.spec.to_domain(manifest.name),
        plan=PlanId(plan.id if plan else ""),
        profile=manifest.spec.profile,
    )


class MemoryPipeline:
    """A pipeline that a test, or a process without a cluster, tells it of."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Begin with this one."""
        self._pipeline = pipeline
        self._changed = asyncio.Event()

    def put(self, pipeline: Pipeline) -> None:
        """Edit it."""
        self._pipeline = pipeline
        self._changed.set()

    async def watch(self) -> AsyncIterator[Pipeline]:
        """The pipeline, whenever it changes."""
        while True:
            self._changed.clear()
            yield self._pipeline
            await self._changed.wait()
