"""A collection stays the truth whatever happens to its watch: a scripted API server decides."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tridentserve_local.api import Api, ApiError, Credentials
from tridentserve_local.watching import Collection

Stream = Callable[[web.StreamResponse], Awaitable[None]]


def pod(uid: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": str(version), "labels": labels}}


class FakeServer:
    """Lists what `objects` holds, and plays the next of `streams` for every watch."""

    def __init__(self) -> None:
        """Begin empty."""
        self.objects: list[dict[str, Any]] = []
        self.version = 1
        self.streams: list[Stream] = []
        self.watched_from: list[str] = []
        self.lists = 0
        self.quiet = asyncio.Event()
        """Set once all streams have been played."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """List or watch."""
        if request.query.get("watch") != "true":
            self.lists += 1
            version = {"resourceVersion": str(self.version)}
            return web.json_response({"metadata": version, "items": self.objects})
        self.watched_from.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if self.streams:
            await self.streams.pop(0)(response)
            return response
        self.quiet.set()
        await asyncio.Event().wait()
        return response


def events(*made: tuple[str, dict[str, Any]]) -> Stream:
    """A watch that sends these events and ends in order."""

    async def play(response: web.StreamResponse) -> None:
        for kind, item in made:
            await response.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    return play


async def broken(response: web.StreamResponse) -> None:
    """A watch whose connection is cut in the middle of a line."""
    await response.write(b'{"type": "MODI')
    assert response._req is not None
    assert response._req.transport is not None
    response._req.transport.abort()


@pytest.fixture
async def server() -> FakeServer:
    return FakeServer()


class Watched:
    """A collection and what it told."""

    def __init__(self, api: Api) -> None:
        """Watch the fake server."""
        self.told: list[tuple[str, str]] = []
        self.collection = Collection(
            api,
            "/api/v1/pods",
            changed=lambda item: self.told.append(("changed", item["metadata"]["uid"])),
            deleted=lambda item: self.told.append(("deleted", item["metadata"]["uid"])),
        )


@pytest.fixture
async def api(server: FakeServer) -> AsyncIterator[Api]:
    app = web.Application()
    app.router.add_get("/api/v1/pods", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with Api(Credentials(server=url, token="t", authority="")) as made:
        yield made
    await runner.cleanup()


async def watch(server: FakeServer, api: Api) -> Watched:
    """Run a collection until the server has played all its streams."""
    watched = Watched(api)
    task = asyncio.create_task(watched.collection.run())
    try:
        async with asyncio.timeout(20):
            await server.quiet.wait()
    finally:
        task.cancel()
    return watched


async def test_what_is_listed_and_what_happens_later_is_told(server: FakeServer, api: Api) -> None:
    server.objects = [pod("a", 1)]
    server.streams = [events(("ADDED", pod("b", 2)), ("DELETED", pod("a", 3)))]

    watched = await watch(server, api)

    assert watched.told == [("changed", "a"), ("changed", "b"), ("deleted", "a")]
    assert set(watched.collection.objects) == {"b"}


async def test_a_watch_that_ends_is_resumed_where_it_was(server: FakeServer, api: Api) -> None:
    bookmark = {"kind": "Pod", "metadata": {"resourceVersion": "9"}}
    server.streams = [events(("ADDED", pod("a", 5))), events(("BOOKMARK", bookmark))]

    watched = await watch(server, api)

    assert server.watched_from == ["1", "5", "9"]
    assert server.lists == 1
    assert watched.told == [("changed", "a")]


async def test_an_end_that_was_missed_is_told_after_a_cut_connection(
    server: FakeServer, api: Api
) -> None:
    server.objects = [pod("a", 1), pod("b", 1)]

    async def cut(response: web.StreamResponse) -> None:
        server.objects = [pod("b", 7)]
        server.version = 7
        await broken(response)

    server.streams = [cut]

    watched = await watch(server, api)

    assert ("deleted", "a") in watched.told
    assert server.watched_from == ["1", "7"]
    assert watched.collection.objects == {"b": pod("b", 7)}


async def test_a_history_that_is_too_old_is_listed_again(server: FakeServer, api: Api) -> None:
    expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    server.streams = [events(("ERROR", expired))]

    await watch(server, api)

    assert server.lists == 2


async def test_events_larger_than_a_read_buffer_arrive_whole(server: FakeServer, api: Api) -> None:
    large = pod("a", 2, blob="x" * 1_000_000)
    server.streams = [events(("ADDED", large), ("ADDED", pod("b", 3)))]

    watched = await watch(server, api)

    assert watched.collection.objects == {"a": large, "b": pod("b", 3)}


async def test_an_error_carries_the_servers_code_and_sentence() -> None:
    async def refuse(request: web.Request) -> web.Response:
        status = {"reason": "Forbidden", "message": "you may not"}
        return web.json_response(status, status=403)

    async def nonsense(request: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>")

    app = web.Application()
    app.router.add_get("/refused", refuse)
    app.router.add_get("/nonsense", nonsense)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with Api(Credentials(server=url, token="t", authority="")) as api:
        with pytest.raises(ApiError, match="you may not") as refused:
            await api.get("/refused")
        with pytest.raises(ApiError, match="<html>") as garbled:
            await api.get("/nonsense")
        await runner.cleanup()
        with pytest.raises(ApiError) as gone:
            await api.get("/refused")

    assert (refused.value.code, garbled.value.code, gone.value.code) == (403, 502, 0)
