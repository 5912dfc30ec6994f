"""Following objects of the API server: a list, then a watch, whole pictures out.

Level-based: every change yields all objects as they are now, so that whoever follows never has to
remember what it missed. A lost connection changes nothing of the picture; it is taken again with
a pause. Objects are dicts here and become typed values in `pods` and `pipeline`.
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.config_exception import ConfigException

from tridentserve.errors import UnavailableError

_log = logging.getLogger(__name__)

Object = Mapping[str, Any]

_config: Any = config  # the client's loaders carry no types

_WATCH_S = 240
"""Length of one watch. Each begins with fresh credentials, whose files live for an hour or so."""
_LIST_TIMEOUT_S = 10.0
_PAUSE_S = 0.5
_LONGEST_LINE = 16 * 1024 * 1024


async def connect() -> ApiClient:
    """A client of the cluster that `KUBECONFIG` names, else of the one that the pod runs in.

    Raises:
        UnavailableError: there is neither.
    """
    configuration = Configuration()
    try:
        if os.environ.get("KUBECONFIG"):
            await _config.load_kube_config(
                config_file=os.environ["KUBECONFIG"],
                client_configuration=configuration,
                persist_config=False,
            )
        else:
            _config.load_incluster_config(client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise UnavailableError(
            f"no cluster to talk to ({error}); set KUBECONFIG or run in a pod"
        ) from error
    return ApiClient(configuration)


async def follow(path: str, query: Mapping[str, str]) -> AsyncIterator[Mapping[str, Object]]:
    """Every object of a collection by name, whenever one of them changes; never ends by itself.

    Args:
        path: `/api/v1/namespaces/<namespace>/pods` for one.
        query: `labelSelector`, `fieldSelector`.
    """
    said: str | None = None
    while True:
        try:
            async with await connect() as client, aclosing(_once(client, path, query)) as pictures:
                async for picture in pictures:
                    said = None
                    yield picture
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, UnavailableError) as error:
            # A right that is missing stays so until somebody acts: once, not twice a second.
            if str(error) != said:
                said = str(error)
                _log.warning("watch ended", extra={"path": path, "problem": said})
        # Also after a watch that ended in order: a server that ends each at once must not be asked
        # a thousand times a second.
        await asyncio.sleep(_PAUSE_S)


async def _once(
    client: ApiClient, path: str, query: Mapping[str, str]
) -> AsyncGenerator[Mapping[str, Object], None]:
    listed = await _get(client, path, query)
    picture: dict[str, Object] = {item["metadata"]["name"]: item for item in listed["items"]}
    yield dict(picture)
    watch = {
        **query,
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": listed["metadata"]["resourceVersion"],
        "timeoutSeconds": str(_WATCH_S),
    }
    async with aclosing(_lines(client, path, watch)) as events:
        async for event in events:
            found = event["object"]
            match event["type"]:
                case "ADDED" | "MODIFIED":
                    picture[found["metadata"]["name"]] = found
                case "DELETED":
                    picture.pop(found["metadata"]["name"], None)
                case "BOOKMARK":
                    continue
                case _:  # ERROR: the version is too old; a new list is needed
                    return
            yield dict(picture)


async def _request(
    client: ApiClient, path: str, query: Mapping[str, str], within: aiohttp.ClientTimeout
) -> aiohttp.ClientResponse:
    request = await client.param_serialize(
        "GET",
        f"{path}?{urlencode(query)}",
        header_params={"Accept": "application/json"},
        auth_settings=["BearerToken"],
    )
    answer = await client.call_api(*request, _request_timeout=within)
    response: aiohttp.ClientResponse = answer.response
    if response.status >= 300:
        body = await response.text()
        response.close()
        raise UnavailableError(f"the API server answers {response.status}: {body[:200]}")
    return response


async def _get(client: ApiClient, path: str, query: Mapping[str, str]) -> Object:
    timeout = aiohttp.ClientTimeout(total=_LIST_TIMEOUT_S)
    response = await _request(client, path, query, timeout)
    answer: Object = json.loads(await response.read())
    return answer


async def _lines(
    client: ApiClient, path: str, query: Mapping[str, str]
) -> AsyncGenerator[Object, None]:
    # Bounded by the server's own timeout plus a margin, so that a server that vanished without a
    # word is noticed in the end.
    timeout = aiohttp.ClientTimeout(total=_WATCH_S + 30.0, sock_connect=_LIST_TIMEOUT_S)
    response = await _request(client, path, query, timeout)
    try:
        rest = b""
        async for chunk in response.content.iter_any():
            # Not readline(), whose limit of 64 KiB a pod with a long status exceeds.
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
            if len(rest) > _LONGEST_LINE:
                raise ValueError("the API server sends a line without an end")
    finally:
        # The rest of a watch is not wanted, and to end TLS in order would go on in the background,
        # beyond the client and at the last beyond the event loop.
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        response.close()
