"""Following objects of an API server that lists, watches, breaks off and fails."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests import kubeconfig
from tests.router.conftest import PIPELINE, until

from tridentserve import errors
from tridentserve.manifest.profile_choice import BuiltinProfile, ProfileChoice
from tridentserve_router import kube
from tridentserve_router.pipeline import KubernetesPipeline
from tridentserve_router.pods import KubernetesPods
from tridentserve_router.profiles import KubernetesConfigMaps

Watch = list[dict[str, Any] | str]


class ApiServer:
    """Answers lists from `objects`, and each watch with the next of `watches`."""

    def __init__(self) -> None:
        """Begin empty; a watch without a script stays open."""
        self.objects: list[dict[str, Any]] = []
        self.watches: list[Watch] = []
        self.failures: list[int] = []
        self.queries: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One list or watch."""
        self.queries.append(dict(request.query))
        if self.failures:
            return web.Response(status=self.failures.pop(0), text="no")
        if request.query.get("watch") != "true":
            body = {"metadata": {"resourceVersion": "7"}, "items": self.objects}
            return web.json_response(body)
        response = web.StreamResponse()
        await response.prepare(request)
        if not self.watches:
            await asyncio.sleep(60)
        for event in self.watches.pop(0):
            line = event if isinstance(event, str) else json.dumps(event) + "\n"
            await response.write(line.encode())
        return response


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    """An API server that `KUBECONFIG` names."""
    server = ApiServer()
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    path = kubeconfig.write(tmp_path, f"http://127.0.0.1:{port}", user="{token: secret}")
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr(kube, "_PAUSE_S", 0.001)
    yield server
    await runner.cleanup()


def thing(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, **fields.pop("metadata", {})}, **fields}


def pod(name: str, address: str = "127.0.0.9") -> dict[str, Any]:
    return thing(name, status={"podIP": address, "phase": "Running"})


def event(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": body}


@contextlib.asynccontextmanager
async def following(
    seen: list[Any], source: Callable[[], AsyncIterator[Any]]
) -> AsyncIterator[None]:
    """Collect what a source yields, meanwhile."""

    async def follow() -> None:
        async for picture in source():
            seen.append(picture)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def names(seen: list[Any]) -> list[list[str]]:
    return [sorted(picture) for picture in seen]


async def test_pods_come_change_and_go(api: ApiServer) -> None:
    api.objects = [pod("one")]
    api.watches = [
        [
            event("ADDED", pod("two")),
            event("MODIFIED", pod("one", "127.0.0.10")),
            event("DELETED", pod("one")),
        ]
    ]
    seen: list[Any] = []
    async with following(seen, KubernetesPods(PIPELINE).watch):
        await until(lambda: len(seen) >= 4)

    assert names(seen)[:4] == [["one"], ["one", "two"], ["one", "two"], ["two"]]
    assert seen[2]["one"].address == "127.0.0.10:8500"
    assert api.queries[0]["labelSelector"] == "tridentserve.io/pipeline=flux,tridentserve.io/stages"
    assert api.queries[1]["resourceVersion"] == "7"


async def test_a_watch_that_ends_begins_again_with_the_whole_picture(api: ApiServer) -> None:
    api.objects = [pod("one")]
    api.watches = [[], []]
    seen: list[Any] = []
    async with following(seen, KubernetesPods(PIPELINE).watch):
        await until(lambda: len(seen) == 1)
        api.objects = [pod("two")]
        await until(lambda: ["two"] in names(seen))


@pytest.mark.parametrize(
    "broken",
    [
        [event("ERROR", {"code": 410, "reason": "Expired"})],
        ["no json\n"],
        [json.dumps(event("ADDED", pod("half")))[:20]],
        [event("BOOKMARK", thing(""))],
    ],
)
async def test_a_broken_watch_is_begun_again(api: ApiServer, broken: Watch) -> None:
    api.objects = [pod("one")]
    api.watches = [broken]
    seen: list[Any] = []
    async with following(seen, KubernetesPods(PIPELINE).watch):
        await until(lambda: len(seen) >= 2)

    assert names(seen) == [["one"], ["one"]]


async def test_an_api_server_that_fails_is_asked_again(api: ApiServer) -> None:
    api.objects = [pod("one")]
    api.failures = [500, 403, 503]
    seen: list[Any] = []
    async with following(seen, KubernetesPods(PIPELINE).watch):
        await until(lambda: bool(seen))

    assert names(seen) == [["one"]]
    assert len(api.queries) >= 4


async def test_a_right_that_is_missing_is_logged_once_and_asked_for_until_it_is_there(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.objects = [thing("own", data={"a": "1"})]
    api.failures = [403] * 5
    seen: list[Any] = []
    async with following(seen, lambda: KubernetesConfigMaps(PIPELINE).watch("own")):
        await until(lambda: bool(seen))

    (record,) = (one for one in caplog.records if one.message == "watch ended")
    assert "403" in record.problem  # type: ignore[attr-defined]
    assert seen[0]["data"] == {"a": "1"}


async def test_a_pod_whose_status_is_longer_than_a_line_buffer_is_read(api: ApiServer) -> None:
    long = pod("long")
    long["metadata"]["annotations"] = {"x": "y" * 300_000}
    api.watches = [[event("ADDED", long)]]
    seen: list[Any] = []
    async with following(seen, KubernetesPods(PIPELINE).watch):
        await until(lambda: ["long"] in names(seen))


def pipeline(plan: str, **spec: Any) -> dict[str, Any]:
    return thing(
        "flux",
        metadata={"namespace": "team"},
        apiVersion="tridentserve.io/v1alpha1",
        kind="DiffusionPipeline",
        spec={"model": {"uri": "pvc://models/flux"}, **spec},
        status={"plan": {"id": plan, "reasons": []}},
    )


async def test_the_pipeline_is_told_when_it_differs_and_only_then(api: ApiServer) -> None:
    api.objects = [pipeline("one")]
    api.watches = [
        [
            event("MODIFIED", {**pipeline("one"), "more": 1}),
            event("MODIFIED", {**pipeline("x"), "spec": {"model": 5}}),
            event("DELETED", pipeline("one")),
            event("ADDED", pipeline("two", router={"maxQueue": 3})),
        ]
    ]
    seen: list[Any] = []
    async with following(seen, KubernetesPipeline(PIPELINE).watch):
        await until(lambda: len(seen) >= 2)

    assert [found.plan for found in seen[:2]] == ["one", "two"]
    assert seen[1].spec.max_queue == 3
    assert api.queries[0]["fieldSelector"] == "metadata.name=flux"


async def test_a_pipeline_says_which_profile_it_names(api: ApiServer) -> None:
    api.objects = [pipeline("one", profile={"name": "flux"})]
    seen: list[Any] = []
    async with following(seen, KubernetesPipeline(PIPELINE).watch):
        await until(lambda: bool(seen))

    assert seen[0].profile == ProfileChoice(name=BuiltinProfile.FLUX)


async def test_a_config_map_comes_changes_and_goes(api: ApiServer) -> None:
    api.watches = [
        [
            event("ADDED", thing("own", data={"a": "1"})),
            event("MODIFIED", thing("own", data={"a": "2"})),
            event("DELETED", thing("own")),
        ]
    ]
    seen: list[Any] = []
    async with following(seen, lambda: KubernetesConfigMaps(PIPELINE).watch("own")):
        await until(lambda: len(seen) >= 4)

    assert [None if body is None else body["data"] for body in seen[:4]] == [
        None, {"a": "1"}, {"a": "2"}, None
    ]  # fmt: skip
    assert api.queries[0]["fieldSelector"] == "metadata.name=own"


async def test_without_a_cluster_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(errors.UnavailableError, match="set KUBECONFIG or run in a pod"):
        await kube.connect()


async def test_a_kubeconfig_that_is_not_there_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))

    with pytest.raises(errors.UnavailableError, match="no cluster to talk to"):
        await kube.connect()
