"""kopf's side: what is watched, kept and marked. No handler does more than call one function.

Only indexes and event handlers: kopf then writes nothing into the resources, neither finalizers nor
annotations, so that a removed operator leaves no deletion hanging.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import kopf

from tridentserve.domain.ids import PipelineName
from tridentserve.domain.names import LABEL_MANAGED_BY, LABEL_PIPELINE, MANAGED_BY
from tridentserve.manifest.base import GROUP, KIND, PLURAL, VERSION, Object
from tridentserve_operator import credentials
from tridentserve_operator.kube import SELECTOR
from tridentserve_operator.loop import Loop
from tridentserve_operator.observe import Observation, observation
from tridentserve_operator.sweep import Sweeper
from tridentserve_operator.views import (
    DeploymentView,
    ObjectView,
    PodView,
    deployment_view,
    object_view,
    pod_view,
)

_OURS: dict[str, Any] = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_PIPELINE: kopf.PRESENT}
_PIPELINES = (GROUP, VERSION, PLURAL)
_DEPLOYMENTS = ("apps", "v1", "deployments")
_PODS = ("", "v1", "pods")
_OTHERS = (
    ("", "v1", "services"),
    ("", "v1", "serviceaccounts"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"),
)
"""Watched only to see whether somebody deleted or changed them."""
KINDS = (KIND, "Deployment", "Pod", "Service", "ServiceAccount", "RoleBinding")
"""All that is watched."""


_View = TypeVar("_View", DeploymentView, PodView, ObjectView)


class Indexes:
    """The indexes as the loop reads them."""

    def __init__(
        self,
        pipelines: kopf.Index[PipelineName, Object],
        deployments: kopf.Index[PipelineName, DeploymentView],
        pods: kopf.Index[PipelineName, PodView],
        others: kopf.Index[PipelineName, ObjectView],
    ) -> None:
        """Wrap kopf's views, which change under us."""
        self._pipelines, self._deployments = pipelines, deployments
        self._pods, self._others = pods, others
        self._gone: frozenset[str] = frozenset()

    def pipelines(self) -> Iterable[PipelineName]:
        """Every pipeline that is there."""
        return [name for name in self._pipelines if self.body(name) is not None]

    def body(self, name: PipelineName) -> Object | None:
        """The resource, None where it is gone."""
        found = self._pipelines.get(name, ())
        return next((one for one in found if one["metadata"]["uid"] not in self._gone), None)

    def observe(self, name: PipelineName, uid: str, now: float) -> Observation:
        """Everything of it."""
        return observation(
            uid,
            self._there(self._deployments.get(name, ())),
            self._there(self._pods.get(name, ())),
            now,
            self._there(self._others.get(name, ())),
        )

    def indexed(self, kind: str) -> Mapping[str, PipelineName]:
        """The pipeline of every object of a kind, by its uid; those that are overlooked too."""
        if kind == KIND:
            bodies = self._pipelines.items()
            return {one["metadata"]["uid"]: name for name, found in bodies for one in found}
        if kind == "Deployment":
            return _uids(self._deployments.items())
        if kind == "Pod":
            return _uids(self._pods.items())
        return _uids(
            (name, [one for one in found if one.kind == kind])
            for name, found in self._others.items()
        )

    def overlook(self, gone: frozenset[str]) -> None:
        """See objects with these uids no longer, and all others."""
        self._gone = gone

    def _there(self, views: Iterable[_View]) -> Iterable[_View]:
        return [one for one in views if one.uid not in self._gone]


def _uids(found: Iterable[tuple[PipelineName, Iterable[_View]]]) -> Mapping[str, PipelineName]:
    return {one.uid: name for name, views in found for one in views}


def registry(loop: Loop, sweeper: Sweeper) -> kopf.OperatorRegistry:
    """Every handler, around one loop and who sweeps up after broken watches."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def log_in(**_: object) -> kopf.ConnectionInfo:
        return await credentials.login()

    # The ids of the indexes are what kopf calls them: by default the whole path of the function.
    @kopf.on.startup(registry=handlers)
    async def start(settings: kopf.OperatorSettings, **kept: Any) -> None:
        configure(settings)
        names = ("pipeline_bodies", "deployment_views", "pod_views", "object_views")
        indexes = Indexes(*(kept[name] for name in names))
        loop.attach(indexes)
        sweeper.attach(indexes)

    @kopf.index(*_PIPELINES, id="pipeline_bodies", registry=handlers)
    async def pipeline_bodies(body: kopf.Body, **_: object) -> dict[PipelineName, Object]:
        return {_own_name(body): plain(body)}

    @kopf.index(*_DEPLOYMENTS, labels=_OURS, id="deployment_views", registry=handlers)
    async def deployment_views(body: kopf.Body, **_: object) -> dict[PipelineName, DeploymentView]:
        return {_pipeline_of(body): deployment_view(body)}

    @kopf.index(*_PODS, labels=_OURS, id="pod_views", registry=handlers)
    async def pod_views(body: kopf.Body, **_: object) -> dict[PipelineName, PodView]:
        return {_pipeline_of(body): pod_view(body)}

    async def object_views(body: kopf.Body, **_: object) -> dict[PipelineName, ObjectView]:
        return {_pipeline_of(body): object_view(body)}

    for other in _OTHERS:
        kopf.index(*other, labels=_OURS, id="object_views", registry=handlers)(object_views)

    @kopf.on.event(*_PIPELINES, registry=handlers)
    async def pipeline_changed(body: kopf.Body, **_: object) -> None:
        loop.mark(_own_name(body))

    async def child_changed(body: kopf.Body, **_: object) -> None:
        loop.mark(_pipeline_of(body))

    for child in (_DEPLOYMENTS, _PODS, *_OTHERS):
        kopf.on.event(*child, labels=_OURS, registry=handlers)(child_changed)

    return handlers


def configure(settings: kopf.OperatorSettings) -> None:
    """Settings of kopf: quiet, patient with the API server, without rights beyond our own."""
    settings.posting.enabled = False
    settings.posting.level = logging.CRITICAL
    settings.peering.standalone = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 5
    settings.watching.reconnect_backoff = 1
    # A pod of somebody else is no concern of ours, and there may be ten thousand.
    for child in (_DEPLOYMENTS, _PODS, *_OTHERS):
        settings.watching.label_selectors[child] = SELECTOR


def plain(body: kopf.Body) -> Object:
    """The resource without what is long and of no use: managed fields."""
    metadata = {key: value for key, value in body.metadata.items() if key != "managedFields"}
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "spec": dict(body.spec),
        "status": dict(body.status),
    }


def _own_name(body: kopf.Body) -> PipelineName:
    return PipelineName(f"{body.metadata['namespace']}/{body.metadata['name']}")


def _pipeline_of(body: kopf.Body) -> PipelineName:
    return PipelineName(f"{body.metadata['namespace']}/{body.metadata['labels'][LABEL_PIPELINE]}")
