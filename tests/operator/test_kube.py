"""What is sent to the API server, and what its failures become."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.operator.api_server import answering, write_kubeconfig

from tridentserve.errors import InvalidFieldError, NotFoundError, UnavailableError
from tridentserve_operator import credentials
from tridentserve_operator.kube import Kube

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "pool", "namespace": "ns"},
    "spec": {"replicas": 1},
}


class Server:
    """An API server that says what a test tells it to, and remembers what it was sent."""

    def __init__(self) -> None:
        """Answer 200 until told otherwise."""
        self.status = 200
        self.body: Any = {"metadata": {"generation": 7}}
        self.requests: list[tuple[str, str, dict[str, str], Any, str]] = []
        self.bodies: list[Any] = []
        """Taken one by one, as long as there are any, in place of `body`."""
        self.content_types: list[str] = []
        self.accepts: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Note the request and do as told."""
        text = await request.text()
        body = json.loads(text) if text else None
        token = request.headers.get("Authorization", "")
        self.requests.append((request.method, request.path, dict(request.query), body, token))
        self.content_types.append(request.headers.get("Content-Type", ""))
        self.accepts.append(request.headers.get("Accept", ""))
        answer = self.bodies.pop(0) if self.bodies else self.body
        if isinstance(answer, str):
            return web.Response(text=answer, status=self.status)
        return web.json_response(answer, status=self.status)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    fake = Server()
    async with answering(fake.answer, tmp_path, monkeypatch):
        yield fake


@pytest.fixture
async def kube(server: Server) -> AsyncIterator[Kube]:
    client = Kube()
    yield client
    await client.close()


async def test_apply_is_server_side_by_force_under_our_name(server: Server, kube: Kube) -> None:
    answer = await kube.apply(DEPLOYMENT)

    assert answer == {"metadata": {"generation": 7}}
    ((method, path, query, body, token),) = server.requests
    assert (method, path) == ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/pool")
    assert query == {"fieldManager": "tridentserve-operator", "force": "true"}
    assert (body, token) == (DEPLOYMENT, "Bearer secret")
    assert server.content_types == ["application/apply-patch+yaml"]


async def test_one_object_is_asked_for_by_its_name(server: Server, kube: Kube) -> None:
    server.body = {"data": {"profile.json": "{}"}}

    assert await kube.get("ConfigMap", "ns", "own") == server.body
    assert server.requests[0][:2] == ("GET", "/api/v1/namespaces/ns/configmaps/own")
    server.status, server.body = 404, {"message": "not found"}
    with pytest.raises(NotFoundError):
        await kube.get("ConfigMap", "ns", "own")


async def test_the_status_is_a_resource_of_its_own(server: Server, kube: Kube) -> None:
    body = {"kind": "DiffusionPipeline", "metadata": {"name": "flux", "namespace": "ns"}}

    await kube.apply(body, subresource="status")

    assert server.requests[0][1] == (
        "/apis/tridentserve.io/v1alpha1/namespaces/ns/diffusionpipelines/flux/status"
    )


async def test_a_merge_patch_is_one(server: Server, kube: Kube) -> None:
    await kube.merge("Pod", "ns", "p", {"metadata": {"labels": {"a": None}}})

    assert server.requests[0][:2] == ("PATCH", "/api/v1/namespaces/ns/pods/p")
    assert server.requests[0][3] == {"metadata": {"labels": {"a": None}}}
    assert server.content_types == ["application/merge-patch+json"]


async def test_a_deletion_names_the_uid(server: Server, kube: Kube) -> None:
    await kube.delete("Deployment", "ns", "pool", uid="u-1")

    method, _, _, body, _ = server.requests[0]
    assert method == "DELETE"
    assert body["preconditions"] == {"uid": "u-1"}


@pytest.mark.parametrize("status", [404, 409])
async def test_deleting_what_is_gone_or_another_by_now_is_done(
    server: Server, kube: Kube, status: int
) -> None:
    server.status, server.body = status, {"message": "no"}

    await kube.delete("Deployment", "ns", "pool", uid="u-1")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidFieldError),
        (422, InvalidFieldError),
        (404, NotFoundError),
        (401, UnavailableError),
        (403, InvalidFieldError),
        (409, UnavailableError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_a_failure_says_what_the_server_said(
    server: Server, kube: Kube, status: int, error: type[Exception]
) -> None:
    server.status, server.body = status, {"kind": "Status", "message": "spec.x: is wrong"}

    with pytest.raises(error, match=r"spec\.x: is wrong"):
        await kube.apply(DEPLOYMENT)


@pytest.mark.parametrize("body", ["<html>", "[]", ""])
async def test_a_failure_without_a_status_is_one_all_the_same(
    server: Server, kube: Kube, body: str
) -> None:
    server.status, server.body = 502, body

    with pytest.raises(UnavailableError):
        await kube.apply(DEPLOYMENT)


async def test_a_namesakes_child_is_waited_for(server: Server, kube: Kube) -> None:
    server.status = 422
    server.body = {
        "message": 'Deployment "x" is invalid: metadata.ownerReferences: Invalid value: "null":'
        " Only one reference can have Controller set to true."
    }

    with pytest.raises(UnavailableError, match="namesake"):
        await kube.apply(DEPLOYMENT)


async def test_what_may_be_somebody_elses_is_not_taken_by_force(server: Server, kube: Kube) -> None:
    await kube.apply(DEPLOYMENT, force=False)

    assert server.requests[0][2] == {"fieldManager": "tridentserve-operator", "force": "false"}


async def test_fields_of_another_manager_are_named_as_somebody_elses(
    server: Server, kube: Kube
) -> None:
    cause = {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kubectl-create" using v1',
        "field": ".spec.selector",
    }
    server.status = 409
    server.body = {
        "kind": "Status",
        "reason": "Conflict",
        "message": 'Apply failed with 1 conflict: conflict with "kubectl-create" using v1:'
        " .spec.selector",
        "details": {"causes": [cause]},
    }

    with pytest.raises(InvalidFieldError, match=r"somebody else.*\.spec\.selector"):
        await kube.apply(DEPLOYMENT, force=False)


async def test_a_rotated_token_is_read_again(server: Server, kube: Kube, tmp_path: Path) -> None:
    await kube.apply(DEPLOYMENT)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace("secret", "fresh"))
    server.status, server.body = 401, {"message": "Unauthorized"}
    with pytest.raises(UnavailableError):
        await kube.apply(DEPLOYMENT)

    server.status, server.body = 200, {}
    await kube.apply(DEPLOYMENT)

    assert [request[4] for request in server.requests] == [
        "Bearer secret",
        "Bearer secret",
        "Bearer fresh",
    ]


async def test_kopf_is_given_the_same_credentials(server: Server) -> None:
    found = await credentials.login()

    assert found.server is not None
    assert found.server.startswith("http://127.0.0.1:")
    assert (found.scheme, found.token) == ("Bearer", "secret")
    assert found.expiration is not None


async def test_an_unknown_resource_asks_for_its_chart(server: Server, kube: Kube) -> None:
    server.status, server.body = 404, "404 page not found"

    with pytest.raises(NotFoundError, match="tridentserve-crds"):
        await kube.require_definition()


async def test_nobody_listening_is_temporary(server: Server, kube: Kube, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", 1, "t")

    with pytest.raises(UnavailableError, match="does not answer"):
        await kube.apply(DEPLOYMENT)


@pytest.mark.parametrize(
    ("kind", "namespace", "path", "selected"),
    [
        ("Pod", None, "/api/v1/pods", True),
        ("Deployment", "ns", "/apis/apps/v1/namespaces/ns/deployments", True),
        ("DiffusionPipeline", None, "/apis/tridentserve.io/v1alpha1/diffusionpipelines", False),
    ],
)
async def test_uids_are_listed_page_by_page_and_without_what_is_not_asked_for(
    server: Server, kube: Kube, kind: str, namespace: str | None, path: str, selected: bool
) -> None:
    pages = [
        {"items": [{"metadata": {"uid": "a"}}], "metadata": {"continue": "more"}},
        {"items": [{"metadata": {"uid": "b"}}], "metadata": {}},
    ]
    server.bodies = pages

    assert await kube.uids(kind, namespace) == {"a", "b"}

    assert [request[:2] for request in server.requests] == [("GET", path)] * 2
    queries = [request[2] for request in server.requests]
    assert [query.get("continue") for query in queries] == [None, "more"]
    assert all(("labelSelector" in query) is selected for query in queries)
    assert all("resourceVersion" not in query for query in queries), "a cache may be behind"
    assert all("PartialObjectMetadataList" in accept for accept in server.accepts)


async def test_where_there_is_nothing_no_uids_are_listed(server: Server, kube: Kube) -> None:
    server.body = {"kind": "PartialObjectMetadataList", "metadata": {}, "items": None}

    assert await kube.uids("Pod", None) == frozenset()
