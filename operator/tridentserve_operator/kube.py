"""The few calls of the operator to the API server, and what their failures mean.

Objects are dicts here: a DiffusionPipeline has no generated model, and building the generated
models of a Deployment costs more processor time than the call. What is watched is kopf's business;
a profile, of which one name among all ConfigMaps is asked for, is not watched.

    answer of the API server                raised
    400, 403, 422                           InvalidFieldError: as it stands it is not taken; 403 is
                                            a quota, a policy or a missing right, told to the user
    409, a field is another manager's       InvalidFieldError: the object is somebody else's
    404                                     NotFoundError
    anything else, or none within 10 s      UnavailableError: the same call may succeed later
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client import ApiClient

from tridentserve.domain.names import LABEL_MANAGED_BY, LABEL_PIPELINE, MANAGED_BY
from tridentserve.errors import InvalidFieldError, NotFoundError, UnavailableError
from tridentserve.manifest.base import KIND, Object
from tridentserve_operator import credentials

log = logging.getLogger(__name__)

FIELD_MANAGER: Final = "tridentserve-operator"
SELECTOR: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_PIPELINE}"
"""Of everything that belongs to a pipeline."""
_TIMEOUT_S = 10.0
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_PARTS = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_PAGE = "500"
_INVALID = frozenset({400, 403, 422})
_GONE = frozenset({404, 409})
"""Answers to a deletion: not there, or another object of that name by now."""

_OTHER_OWNER = "Only one reference can have Controller set to true"
_OTHER_MANAGER = "Apply failed with "
"""So many conflicts; an apply by force has none."""

_COLLECTIONS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
    "DiffusionPipeline": "/apis/tridentserve.io/v1alpha1/namespaces/{}/diffusionpipelines",
}


class Api(Protocol):
    """What the operator needs of an API server beside its watches; `Kube` is the real one."""

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """One object, as it is now."""
        ...

    async def apply(self, body: Object, *, subresource: str = "", force: bool = True) -> Object:
        """Create or change an object so that our fields are as in `body`; returns all of it.

        Without `force`, one whose fields somebody else has set to other values stays as it is.
        """
        ...

    async def merge(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch an object that is there."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with this uid; one that is gone already is fine."""
        ...

    async def create(self, body: Object) -> None:
        """Create an object without looking at what is there."""
        ...


class Kube:
    """The API server, over one pooled client whose credentials are renewed as they age."""

    def __init__(self) -> None:
        """Connect at the first call."""
        self._client: ApiClient | None = None
        self._loaded_s = 0.0
        self._lock = asyncio.Lock()
        self._retired: list[ApiClient] = []

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """Get."""
        return await self._call("GET", _path(kind, namespace, name), {}, "application/json", None)

    async def apply(self, body: Object, *, subresource: str = "", force: bool = True) -> Object:
        """Server-side apply, by force where it is ours: what we own, nobody else sets."""
        path = _path(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        suffix = f"/{subresource}" if subresource else ""
        return await self._call("PATCH", path + suffix, query, _APPLY, body)

    async def merge(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch; labels and annotations of pods, which others own for the rest."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PATCH", _path(kind, namespace, name), query, _MERGE, patch)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete with a precondition: a namesake that came meanwhile stays."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        path = _path(kind, namespace, name)
        await self._call("DELETE", path, {}, "application/json", options, tolerated=_GONE)

    async def create(self, body: Object) -> None:
        """Create."""
        path = _COLLECTIONS[body["kind"]].format(quote(body["metadata"]["namespace"]))
        await self._call("POST", path, {"fieldManager": FIELD_MANAGER}, "application/json", body)

    async def uids(self, kind: str, namespace: str | None) -> frozenset[str]:
        """Of every object of a kind that carries our labels, and of every pipeline.

        A consistent read: what was there before the call and is not in the answer is gone.
        """
        path = _COLLECTIONS[kind].format(quote(namespace or ""))
        if namespace is None:
            path = path.replace("/namespaces//", "/")
        query = {"limit": _PAGE} | ({} if kind == KIND else {"labelSelector": SELECTOR})
        found: set[str] = set()
        while True:
            answer = await self._call("GET", path, query, "application/json", None, accept=_PARTS)
            # Null where there are none.
            found.update(item["metadata"]["uid"] for item in answer["items"] or ())
            if not (further := answer["metadata"].get("continue")):
                return frozenset(found)
            query = query | {"continue": further}

    async def require_definition(self) -> None:
        """See that the API server knows our resource.

        Raises:
            NotFoundError: it does not.
            UnavailableError: it does not answer.
        """
        try:
            await self._call("GET", "/apis/tridentserve.io/v1alpha1", {}, "application/json", None)
        except NotFoundError:
            raise NotFoundError(
                "the API server does not know DiffusionPipeline;"
                " install the chart tridentserve-crds first"
            ) from None

    async def close(self) -> None:
        """Close every connection."""
        for client in [*self._retired, *([self._client] if self._client else [])]:
            await client.rest_client.close()
        self._retired, self._client = [], None

    async def _connected(self) -> ApiClient:
        async with self._lock:
            age_s = time.monotonic() - self._loaded_s
            if self._client is not None and age_s < credentials.LIFETIME.total_seconds():
                return self._client
            for client in self._retired:  # calls on it have timed out long ago
                await client.rest_client.close()
            self._retired = [self._client] if self._client else []
            self._client = ApiClient(await credentials.load())
            self._client.user_agent = FIELD_MANAGER
            self._loaded_s = time.monotonic()
            return self._client

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content_type: str,
        body: Object | None,
        *,
        tolerated: frozenset[int] = frozenset(),
        accept: str = "application/json",
    ) -> Object:
        client = await self._connected()
        request = await client.param_serialize(
            method,
            path + ("?" + urlencode(query) if query else ""),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await client.call_api(*request, _request_timeout=_TIMEOUT_S)
            data = await response.response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(f"the API server does not answer: {_words(error)}") from error
        if response.status >= 300 and response.status not in tolerated:
            if response.status == 401:
                self._loaded_s = 0.0  # a rotated token: read it again next time
            raise _failure(response.status, data, f"{method} {path}")
        answer: Object = json.loads(data)
        return answer


def _path(kind: str, namespace: str, name: str) -> str:
    return _COLLECTIONS[kind].format(quote(namespace)) + "/" + quote(name)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _failure(status: int, data: bytes, what: str) -> Exception:
    try:
        message = str(json.loads(data).get("message") or "")
    except (ValueError, AttributeError):
        message = data.decode(errors="replace")[:200]
    message = message or f"HTTP {status}"
    if _OTHER_OWNER in message:
        # The pipeline was deleted and made anew: children of the old one are collected any moment.
        return UnavailableError(
            f"{what}: another owner's object of that name is there; that of a deleted namesake is"
            " collected any moment, any other has to go, or the pipeline to be renamed"
        )
    if _OTHER_MANAGER in message:
        return InvalidFieldError(
            what,
            "an object of that name is there and belongs to somebody else, so it stays as it is;"
            f" delete it, or rename the pipeline: {message}",
        )
    if status == 404:
        return NotFoundError(message)
    if status in _INVALID:
        return InvalidFieldError(what, message)
    return UnavailableError(f"{what}: {message}")
