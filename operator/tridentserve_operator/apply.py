"""From a decision to calls: only those that change something, each of which may be repeated.

What was written last is remembered by hash and generation. An object is written again when it
should differ, when its generation (or resource version, where it has none) says that somebody else
wrote it, when it is gone, and every ten minutes all the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tridentserve.domain.ids import Revision
from tridentserve.domain.names import ANNOTATION_DELETION_COST, LABEL_DRAINING
from tridentserve.errors import InvalidFieldError, NotFoundError, UnavailableError
from tridentserve.manifest.base import API_VERSION, KIND, Object
from tridentserve.manifest.status import Status
from tridentserve.manifest.v1alpha1 import DiffusionPipeline
from tridentserve.planner.pools import (
    MarkDraining,
    PoolKey,
    RemovePool,
    SetReplicas,
    Step,
    UnmarkDraining,
)
from tridentserve_operator.kube import Api
from tridentserve_operator.observe import Observation, pool_key, spared, victims
from tridentserve_operator.render import router, worker
from tridentserve_operator.render.labels import rendered_hash
from tridentserve_operator.settings import Settings
from tridentserve_operator.views import DeploymentView, PodView

RESYNC_S: Final = 600.0
_SEEN_WITHIN_S = 5.0
"""An object that was just written and is not in the index yet is not gone."""
_LOWEST_COST = "-1000"

Refused = InvalidFieldError | UnavailableError
"""What became of an object that the API server did not take: for good, or for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """What is known of an object since it was written."""

    hash: str
    generation: int
    """0 for kinds that have none."""
    version: str
    at_s: float


@dataclass(slots=True, kw_only=True)
class Rendered:
    """A pipeline's objects, rendered once a generation."""

    revision: Revision
    statics: tuple[Object, ...]
    pools: dict[PoolKey, Object] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Written:
    """What was written for one pipeline."""

    objects: dict[tuple[str, str], Wrote] = field(default_factory=dict)
    """By kind and name."""
    status: bool = False
    resynced_s: float = 0.0

    def resync(self, now: float) -> None:
        """Forget everything where that is due, so that all is written again."""
        if 0 <= now - self.resynced_s < RESYNC_S:
            return
        self.objects.clear()
        self.status = False
        self.resynced_s = now


def render(pipeline: DiffusionPipeline, settings: Settings) -> Rendered:
    """Render what does not depend on a decision."""
    return Rendered(
        revision=worker.revision(pipeline, settings),
        statics=router.objects(pipeline, settings),
    )


def router_is_current(rendered: Rendered, observed: Observation, written: Written) -> bool:
    """Whether the router's Deployment has rolled to what was written last."""
    body = rendered.statics[-1]
    view, wrote = observed.router, written.objects.get(_key(body))
    return (
        view is not None
        and wrote is not None
        and view.rendered_hash == rendered_hash(body)
        and view.observed_generation >= max(view.generation, wrote.generation)
        and view.updated >= view.replicas
    )


class Applier:
    """Writes what was decided about one pipeline."""

    def __init__(self, api: Api, settings: Settings) -> None:
        """Write through `api`."""
        self._api, self._settings = api, settings

    async def statics(
        self, rendered: Rendered, observed: Observation, written: Written, now: float
    ) -> list[Refused]:
        """Write the router and what it needs, as far as it changed; returns what was refused."""
        refused: list[Refused] = []
        for body in rendered.statics:
            if _is_current(body, observed.router, observed, written, now):
                continue
            # What is not seen as ours may be somebody else's of that name, and is not taken over.
            # Of a Deployment it cannot be: its selector differs, which nobody can change.
            ours = body["kind"] == "Deployment" or _key(body) in observed.versions
            try:
                await self._write(body, rendered_hash(body), written, now, force=ours)
            except (InvalidFieldError, UnavailableError) as error:
                refused.append(error)
        return refused

    async def pools(
        self,
        pipeline: DiffusionPipeline,
        rendered: Rendered,
        steps: Iterable[Step],
        observed: Observation,
        written: Written,
        now: float,
    ) -> list[InvalidFieldError]:
        """Carry steps out, in order, and repair pools that somebody else changed.

        Whoever should come and is refused takes nobody's place: no later step takes workers away.

        Raises:
            UnavailableError: the API server cannot be reached or is not able to; steps that were
                not reached come again with the next look.
        """
        refused, scaled, lacking = [], set(), False
        for step in steps:
            takes = _takes(step, observed)
            if takes and lacking:
                continue
            if isinstance(step, SetReplicas):
                scaled.add(step.pool)
            try:
                await self._carry_out(pipeline, rendered, step, observed, written, now)
            except InvalidFieldError as error:
                refused.append(error)
                lacking = lacking or not takes
        for view in observed.deployments:
            assert view.pool is not None
            key = pool_key(view.pool)
            if key in scaled or key.revision != rendered.revision or view.deleting:
                continue
            body = self._pool(pipeline, rendered, key)
            if not _is_current(body, view, observed, written, now):
                try:
                    await self._write_pool(body, view.replicas, written, now)
                except InvalidFieldError as error:
                    refused.append(error)
        return refused

    async def _carry_out(
        self,
        pipeline: DiffusionPipeline,
        rendered: Rendered,
        step: Step,
        observed: Observation,
        written: Written,
        now: float,
    ) -> None:
        match step:
            case SetReplicas(pool=key, replicas=replicas):
                await self._scale(pipeline, rendered, key, replicas, observed, written, now)
            case MarkDraining(pool=key, pods=pods):
                for pod in victims(observed.pods_of(key), pods):
                    await self._label(pipeline, pod, "true", _LOWEST_COST)
            case UnmarkDraining(pool=key, pods=pods):
                for pod in spared(observed.pods_of(key), pods):
                    await self._label(pipeline, pod, None, None)
            case RemovePool(pool=key):
                await self._remove(pipeline, observed.deployment(key))
            case _:
                pass

    async def status(self, pipeline: DiffusionPipeline, status: Status) -> None:
        """Write the status, as its only owner.

        Raises:
            NotFoundError: the pipeline is gone.
        """
        about = pipeline.metadata
        body: Object = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": about.name, "namespace": about.namespace, "uid": about.uid},
            "status": status.to_manifest(),
        }
        await self._api.apply(body, subresource="status")

    async def event(self, event: Object) -> None:
        """Post an event."""
        await self._api.create(event)

    def _pool(self, pipeline: DiffusionPipeline, rendered: Rendered, key: PoolKey) -> Object:
        if key not in rendered.pools:
            identity = worker.identity(pipeline, key)
            rendered.pools[key] = worker.deployment(pipeline, identity, self._settings)
        return rendered.pools[key]

    async def _scale(
        self,
        pipeline: DiffusionPipeline,
        rendered: Rendered,
        key: PoolKey,
        replicas: int,
        observed: Observation,
        written: Written,
        now: float,
    ) -> None:
        if key.revision == rendered.revision:
            body = self._pool(pipeline, rendered, key)
            await self._write_pool(body, replicas, written, now)
            return
        # Nobody can render the template of an old revision any more; only its size changes.
        view = observed.deployment(key)
        if view is not None and not view.deleting:
            patch = {"metadata": {"uid": view.uid}, "spec": {"replicas": replicas}}
            await self._merge(pipeline, "Deployment", view.name, patch)

    async def _label(
        self, pipeline: DiffusionPipeline, pod: PodView, label: str | None, cost: str | None
    ) -> None:
        metadata = {
            "uid": pod.uid,
            "labels": {LABEL_DRAINING: label},
            "annotations": {ANNOTATION_DELETION_COST: cost},
        }
        await self._merge(pipeline, "Pod", pod.name, {"metadata": metadata})

    async def _merge(
        self, pipeline: DiffusionPipeline, kind: str, name: str, patch: Object
    ) -> None:
        try:
            await self._api.merge(kind, pipeline.metadata.namespace, name, patch)
        except NotFoundError:
            return  # it went by itself

    async def _remove(self, pipeline: DiffusionPipeline, view: DeploymentView | None) -> None:
        if view is not None and not view.deleting:
            namespace = pipeline.metadata.namespace
            await self._api.delete("Deployment", namespace, view.name, uid=view.uid)

    async def _write_pool(self, body: Object, replicas: int, written: Written, now: float) -> None:
        sized = {**body, "spec": {"replicas": replicas, **body["spec"]}}
        await self._write(sized, rendered_hash(body), written, now)

    async def _write(
        self, body: Object, hash_: str, written: Written, now: float, *, force: bool = True
    ) -> None:
        answer = await self._api.apply(body, force=force)
        about = answer["metadata"]
        written.objects[_key(body)] = Wrote(
            hash=hash_,
            generation=int(about.get("generation") or 0),
            version=about["resourceVersion"],
            at_s=now,
        )


def _takes(step: Step, observed: Observation) -> bool:
    """Whether a step takes workers away, which is safe only while what should come does come."""
    if isinstance(step, SetReplicas):
        view = observed.deployment(step.pool)
        return view is not None and step.replicas < view.replicas
    return isinstance(step, MarkDraining)


def _key(body: Object) -> tuple[str, str]:
    return body["kind"], body["metadata"]["name"]


def _is_current(
    body: Object,
    view: DeploymentView | None,
    observed: Observation,
    written: Written,
    now: float,
) -> bool:
    """Whether an object is as it was written; `view` is of a Deployment."""
    wrote = written.objects.get(_key(body))
    if wrote is None or wrote.hash != rendered_hash(body):
        return False
    if body["kind"] == "Deployment" and view is not None:
        return view.generation <= wrote.generation
    # Whoever changes what is not ours changes the version too: one more apply, which changes
    # nothing, and its answer carries the version of the moment.
    as_left = observed.versions.get(_key(body)) == wrote.version
    return as_left or now - wrote.at_s < _SEEN_WITHIN_S
