"""Asks a container how it is: http, tcp, grpc and exec, each within a timeout.

The answer is None for well, else a sentence for the event. What answers mean over time is decided
in `probes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from grpc import RpcError, aio

from .specs import Action, ExecAction, GrpcAction, HttpAction, SleepAction, TcpAction

RunCommand = Callable[[tuple[str, ...]], Awaitable[tuple[int, str]]]
"""Runs a command in the container's environment: exit code and output."""


async def check(
    action: Action, *, pod_ip: str, ports: Mapping[str, int], run: RunCommand, timeout_s: float
) -> str | None:
    """Carries out a probe or a lifecycle hook; None if all is well, else what went wrong."""
    try:
        async with asyncio.timeout(timeout_s):
            match action:
                case HttpAction():
                    return await _http(action, pod_ip, ports)
                case TcpAction():
                    return await _tcp(action, pod_ip, ports)
                case GrpcAction():
                    return await _grpc(action, pod_ip)
                case ExecAction():
                    return await _exec(action, run)
                case SleepAction():
                    await asyncio.sleep(action.seconds)
                    return None
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"


def port_number(port: int | str, ports: Mapping[str, int]) -> int | None:
    """The number of a port that may be given by name; None for a name nobody declared."""
    if isinstance(port, int):
        return port
    return int(port) if port.isdigit() else ports.get(port)


async def _http(action: HttpAction, pod_ip: str, ports: Mapping[str, int]) -> str | None:
    port = port_number(action.port, ports)
    if port is None:
        return f"the container has no port named {action.port!r}"
    host = action.host or pod_ip
    url = f"{action.scheme.lower()}://{host}:{port}/{action.path.lstrip('/')}"
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, headers=dict(action.headers)) as session,
            session.get(url) as response,
        ):
            if 200 <= response.status < 400:
                return None
            return f"HTTP probe failed with statuscode: {response.status}"
    except (aiohttp.ClientError, OSError) as error:
        return f"GET {url}: {error}"


async def _tcp(action: TcpAction, pod_ip: str, ports: Mapping[str, int]) -> str | None:
    port = port_number(action.port, ports)
    if port is None:
        return f"the container has no port named {action.port!r}"
    try:
        _, writer = await asyncio.open_connection(action.host or pod_ip, port)
    except OSError as error:
        return f"dial tcp {action.host or pod_ip}:{port}: {error.strerror}"
    writer.close()
    return None


async def _grpc(action: GrpcAction, pod_ip: str) -> str | None:
    """`grpc.health.v1.Health/Check`, whose two messages have one field each: no stubs needed."""
    service = action.service.encode()
    request = b"\x0a" + bytes([len(service)]) + service if service else b""
    async with aio.insecure_channel(f"{pod_ip}:{action.port}") as channel:
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/grpc.health.v1.Health/Check"
        )
        try:
            answer = await call(request)
        except RpcError as error:
            return f"grpc health check failed: {_details(error)}"
    if answer == b"\x08\x01":
        return None
    return "service unhealthy (grpc health status is not SERVING)"


def _details(error: RpcError) -> str:
    if isinstance(error, aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return repr(error)


async def _exec(action: ExecAction, run: RunCommand) -> str | None:
    code, output = await run(action.command)
    return None if code == 0 else f"command exited with {code}: {output.strip()[-400:]}"
