"""The API server as the node uses it: a few verbs over aiohttp.

The node needs six calls, all on plain JSON, and a watch that it can resume by itself; a generated
client with models of every kind would be a hundred times the code for it. Calls are not retried
here: callers are level-based and know better what is still worth saying.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp
import yaml

from tridentserve.errors import TridentServeError

from .wire import Json

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class ApiError(TridentServeError):
    """The API server answered with an error, or (code 0) did not answer."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        """Keep the HTTP status, Kubernetes' reason and the sentence."""
        super().__init__(f"{message} ({code} {reason})" if code else message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where the API server is and how to be known to it."""

    server: str
    token: str
    authority: str
    """The certificate that the server's is signed with, PEM."""

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Credentials:
        """The current context of a kubeconfig with a token and the authority inside."""
        config = yaml.safe_load(path.read_text())
        named = {c["name"]: c["context"] for c in config["contexts"]}
        context = named[config["current-context"]]
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        return cls(server=cluster["server"], token=user["token"], authority=authority)


class Api:
    """A connection pool to one API server, used as an asynchronous context manager."""

    def __init__(self, credentials: Credentials) -> None:
        """Keep whom to call as whom; the connection is made on entering the context."""
        self.credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        """Open the pool."""
        context = ssl.create_default_context(cadata=self.credentials.authority or None)
        self._session = aiohttp.ClientSession(
            base_url=self.credentials.server,
            headers={"Authorization": f"Bearer {self.credentials.token}"},
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=15),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """One object, or a list.

        Raises:
            ApiError: as for every call here.
        """
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Json:
        """Creates an object in a collection."""
        return await self._call("POST", path, body=body)

    async def patch(self, path: str, body: Json, content_type: str = MERGE) -> Json:
        """Patches an object or its subresource."""
        return await self._call("PATCH", path, body=body, content_type=content_type)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """Deletes an object; the body holds DeleteOptions."""
        return await self._call("DELETE", path, body=body)

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        """Events of a collection, until the server ends the watch.

        Raises:
            ApiError: the watch was refused or broke; code 410 asks for a new list.
        """
        options = {**query, "watch": "true", "allowWatchBookmarks": "true"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=90)
        session = self._opened()
        try:
            async with session.get(path, params=options, timeout=timeout) as response:
                await _refuse(response)
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(
                            status.get("code", 500), status.get("reason", ""), status["message"]
                        )
                    yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"watch of {path} broke: {error!r}") from error

    async def _call(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        session = self._opened()
        try:
            async with session.request(
                verb, path, params=query, data=data, headers=headers
            ) as response:
                await _refuse(response)
                answer: Json = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"{verb} {path}: {error!r}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("Api is used outside of its context")
        return self._session


async def _refuse(response: aiohttp.ClientResponse) -> None:
    """Turns an error status into an `ApiError` with the server's sentence."""
    if response.status < 400:
        return
    text = await response.text()
    try:
        status = json.loads(text)
    except ValueError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    message = status.get("message") or text or response.reason or ""
    raise ApiError(response.status, status.get("reason", ""), message)


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: `readline` gives up at 64 KiB, and objects grow to 1.5 MiB."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
