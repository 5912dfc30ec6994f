"""What was deleted while a watch was broken is not seen any longer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import kopf
import pytest
from aiohttp import web
from tests.operator.api_server import answering

from tridentserve.domain.ids import PipelineName
from tridentserve.domain.names import LABEL_MANAGED_BY, LABEL_PIPELINE, MANAGED_BY
from tridentserve.errors import UnavailableError
from tridentserve.manifest.base import KIND
from tridentserve_operator import handlers
from tridentserve_operator.kube import Kube
from tridentserve_operator.sweep import Sweeper
from tridentserve_operator.testing import pipeline_body

FLUX = PipelineName("default/flux")
OTHER = PipelineName("other/flux")

if TYPE_CHECKING:
    from tridentserve_operator.loop import Loop

_WITHIN_S = 120.0


class Index:
    """Uids as an index would hold them."""

    def __init__(self, **kinds: Mapping[str, PipelineName]) -> None:
        """Of these, by kind."""
        self.kinds, self.overlooked = kinds, frozenset[str]()

    def indexed(self, kind: str) -> Mapping[str, PipelineName]:
        """Of a kind."""
        return self.kinds.get(kind, {})

    def overlook(self, gone: frozenset[str]) -> None:
        """Note it."""
        self.overlooked = gone


class Lists:
    """What is there; a kind that is missing cannot be listed."""

    def __init__(self, **kinds: Mapping[str | None, set[str]]) -> None:
        """By kind and namespace."""
        self.kinds = kinds

    async def uids(self, kind: str, namespace: str | None) -> frozenset[str]:
        """Of a kind in a namespace."""
        if kind not in self.kinds:
            raise UnavailableError("not now")
        return frozenset(self.kinds[kind].get(namespace, ()))


def sweeper(lists: Lists, index: Index, marked: list[PipelineName], *namespaces: str) -> Sweeper:
    made = Sweeper(lists, ("Pod", "Deployment"), namespaces, marked.append)
    made.attach(index)
    return made


async def test_what_is_not_listed_is_overlooked_and_its_pipeline_told_once() -> None:
    marked: list[PipelineName] = []
    index = Index(Pod={"a": FLUX, "b": FLUX, "c": OTHER}, Deployment={"d": OTHER})
    sweep = sweeper(Lists(Pod={None: {"b", "c", "new"}}, Deployment={None: {"d"}}), index, marked)

    await sweep.sweep()
    await sweep.sweep()

    assert index.overlooked == {"a"}
    assert marked == [FLUX]


async def test_what_cannot_be_listed_is_taken_to_be_as_it_was() -> None:
    lists = Lists(Pod={None: set()})
    index = Index(Pod={"a": FLUX}, Deployment={"d": FLUX})
    sweep = sweeper(lists, index, [])
    await sweep.sweep()
    lists.kinds.clear()

    await sweep.sweep()

    assert index.overlooked == {"a"}


async def test_what_the_index_has_forgotten_by_itself_is_remembered_by_nobody() -> None:
    index = Index(Pod={"a": FLUX})
    sweep = sweeper(Lists(Pod={None: set()}, Deployment={None: set()}), index, [])
    await sweep.sweep()
    index.kinds["Pod"] = {}

    await sweep.sweep()

    assert index.overlooked == frozenset()


async def test_a_namespace_is_compared_with_what_is_in_it() -> None:
    marked: list[PipelineName] = []
    index = Index(Pod={"a": FLUX, "c": OTHER})
    lists = Lists(Pod={"default": {"a"}, "other": set()}, Deployment={})
    sweep = sweeper(lists, index, marked, "default", "other")

    await sweep.sweep()

    assert index.overlooked == {"c"}
    assert marked == [OTHER]


# --- with kopf and an API server that forgets -----------------------------------------------------

_PLURALS = {
    "diffusionpipelines": (KIND, "/apis/tridentserve.io/v1alpha1"),
    "deployments": ("Deployment", "/apis/apps/v1"),
    "rolebindings": ("RoleBinding", "/apis/rbac.authorization.k8s.io/v1"),
    "pods": ("Pod", "/api/v1"),
    "services": ("Service", "/api/v1"),
    "serviceaccounts": ("ServiceAccount", "/api/v1"),
    "namespaces": ("Namespace", "/api/v1"),
    "events": ("Event", "/api/v1"),
}


class ApiServer:
    """Lists what a test puts there; its watches report nothing, and end when it has forgotten."""

    def __init__(self) -> None:
        """Hold one pipeline."""
        self.objects: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _PLURALS}
        self.objects["diffusionpipelines"] = [pipeline_body()]
        self.lists = dict.fromkeys(_PLURALS, 0)
        self.forgotten = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Discovery, lists, watches."""
        path = request.path.rstrip("/")
        plural = path.rpartition("/")[2]
        if plural in _PLURALS and "watch" in request.query:
            return await self._watch(request)
        return web.json_response(self._listed(plural) or _discovery(path))

    def _listed(self, plural: str) -> dict[str, Any] | None:
        if plural not in _PLURALS:
            return None
        self.lists[plural] += 1
        return {
            "kind": f"{_PLURALS[plural][0]}List",
            "metadata": {"resourceVersion": str(self.lists[plural])},
            "items": self.objects[plural],
        }

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if self.forgotten.is_set():
            await asyncio.Event().wait()
        await self.forgotten.wait()
        error = {"code": 410, "kind": "Status", "message": "too old resource version"}
        line = json.dumps({"type": "ERROR", "object": error})
        await response.write(line.encode() + b"\n")
        return response


def _discovery(path: str) -> dict[str, Any]:
    groups = sorted({base for _, base in _PLURALS.values() if base.startswith("/apis/")})
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        names = [base.removeprefix("/apis/") for base in groups]
        return {
            "groups": [
                {"name": name.partition("/")[0], "preferredVersion": version, "versions": [version]}
                for name in names
                for version in [{"version": name.partition("/")[2], "groupVersion": name}]
            ]
        }
    verbs = ["list", "watch", "get", "patch"]
    return {
        "resources": [
            {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}
            for name, (kind, base) in _PLURALS.items()
            if base == path
        ]
    }


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    fake = ApiServer()
    async with answering(fake.answer, tmp_path, monkeypatch):
        yield fake


class Marks:
    """In the place of the loop."""

    sources: handlers.Indexes | None = None

    def __init__(self) -> None:
        """Nothing yet."""
        self.marked: asyncio.Queue[PipelineName] = asyncio.Queue()
        self.mark = self.marked.put_nowait

    def attach(self, sources: handlers.Indexes) -> None:
        """Keep them."""
        self.sources = sources

    def pods(self) -> set[str]:
        """Names of the pipeline's pods, as a look would see them."""
        assert self.sources is not None
        return {one.name for one in self.sources.observe(FLUX, "uid-1", 0.0).pods}


def pod(name: str) -> dict[str, Any]:
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_PIPELINE: "flux"}
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": labels}
    return {"metadata": metadata | {"resourceVersion": "1"}, "spec": {}, "status": {}}


async def test_a_pod_and_a_pipeline_that_went_while_watches_were_broken_are_gone(
    api: ApiServer,
) -> None:
    loop, kube = Marks(), Kube()
    swept = Sweeper(kube, handlers.KINDS, (), loop.mark)
    api.objects["pods"] = [pod("old"), pod("kept")]
    options = kopf.OperatorSettings()
    options.scanning.disabled = True
    stop = asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(
            registry=handlers.registry(cast("Loop", loop), swept),
            settings=options,
            standalone=True,
            clusterwide=True,
            stop_flag=stop,
        )
    )
    async with asyncio.timeout(_WITHIN_S):
        while await loop.marked.get() != FLUX:
            pass
        assert loop.pods() == {"old", "kept"}

        api.objects["pods"] = [pod("kept"), pod("new")]
        api.objects["diffusionpipelines"] = []
        api.forgotten.set()
        while "new" not in loop.pods():
            await loop.marked.get()
        assert loop.pods() == {"old", "kept", "new"}, "kopf tells of it; sweeping is for nothing"
        await swept.sweep()

        assert loop.pods() == {"kept", "new"}
        assert loop.sources is not None
        assert list(loop.sources.pipelines()) == []
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    await kube.close()
