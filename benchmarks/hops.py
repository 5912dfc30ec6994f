"""What it costs to hand a tensor to another process, in units of what it must cost at least.

    python benchmarks/hops.py [--rounds 30]

One process puts, another gets, through each store and for each size. The shared-memory hop is given
in units of two memcpys of the same bytes, the Redis hop in units of a plain redis-py SET in one
process and GET in the other. All are timed in turns, round by round, so that other load meets all
alike; medians are compared, since ratios of minima flatter whoever was lucky.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import redis

from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.store.base import TensorStore
from tridentserve.store.redis import RedisStore
from tridentserve.store.shm import SharedMemoryStore
from tridentserve_local.toolchain import tools

MIB = 1 << 20
SIZES = (MIB // 2, 4 * MIB, 32 * MIB)
WARM_UP = 5
PLAIN_KEY = "plain"


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call, the result kept until the clock has stopped."""
    begin = time.perf_counter()
    result = call()
    end = time.perf_counter()
    del result
    return end - begin


def open_store(name: str, shm: Path, url: str) -> TensorStore:
    """A store of this process's own."""
    if name == "shm":
        return SharedMemoryStore(shm, capacity_bytes=256 * MIB)
    return RedisStore(url, prefix="benchmark", timeout_s=30)


def consume(pipe: Connection, shm: Path, url: str) -> None:
    """The reading process: answers each reference with the seconds that reading took."""
    stores = {name: open_store(name, shm, url) for name in ("shm", "redis")}
    plain = redis.Redis.from_url(url)
    while (ref := pipe.recv()) is not None:
        if ref == PLAIN_KEY:
            pipe.send(timed(lambda: plain.get(PLAIN_KEY)))
        else:
            pipe.send(timed(lambda ref=ref: stores[ref.store].get(ref)))  # type: ignore[misc]
    for store in stores.values():
        store.close()


def hop(store: TensorStore, pipe: Connection, tensor: Tensor) -> tuple[float, float]:
    """Seconds of one put here and one get there."""
    refs: list[TensorRef] = []
    put_s = timed(lambda: refs.append(store.put({"t": tensor}, ttl_s=60, now=time.time())))
    pipe.send(refs[0])
    get_s = pipe.recv()
    store.delete(refs[0])
    return put_s, get_s


def plain_hop(client: redis.Redis, pipe: Connection, data: bytes) -> tuple[float, float]:
    """Seconds of one SET here and one GET there."""
    put_s = timed(lambda: client.set(PLAIN_KEY, data, ex=60))
    pipe.send(PLAIN_KEY)
    return put_s, pipe.recv()


def measure(size: int, rounds: int, pipe: Connection, shm: Path, url: str) -> dict[str, float]:
    """Median milliseconds of every part."""
    data = os.urandom(size)
    tensor = Tensor(dtype="uint8", shape=(size,), data=memoryview(data))
    target = memoryview(bytearray(size))
    samples: dict[str, list[float]] = {}

    def copy() -> None:
        target[:] = tensor.data

    stores = {name: open_store(name, shm, url) for name in ("shm", "redis")}
    client = redis.Redis.from_url(url)
    for _ in range(WARM_UP + rounds):
        samples.setdefault("memcpy", []).append(timed(copy))
        for name, (put_s, get_s) in {
            **{name: hop(store, pipe, tensor) for name, store in stores.items()},
            "plain": plain_hop(client, pipe, data),
        }.items():
            samples.setdefault(f"{name} put", []).append(put_s)
            samples.setdefault(f"{name} get", []).append(get_s)
    client.delete(PLAIN_KEY)
    for store in stores.values():
        store.close()
    return {name: 1e3 * statistics.median(values[WARM_UP:]) for name, values in samples.items()}


def report(size: int, ms: dict[str, float]) -> str:
    """One row of the table."""
    shm, own, plain = (ms[f"{name} put"] + ms[f"{name} get"] for name in ("shm", "redis", "plain"))
    return (
        f"{size / MIB:>6.1f} {ms['memcpy']:>8.3f}"
        f" {ms['shm put']:>8.3f} {ms['shm get']:>8.3f} {shm / (2 * ms['memcpy']):>7.2f}x"
        f" {ms['plain put']:>8.2f} {ms['plain get']:>8.2f}"
        f" {ms['redis put']:>8.2f} {ms['redis get']:>8.2f} {own / plain:>7.2f}x"
    )


def start_redis(stack: ExitStack, folder: Path) -> str:
    """A server on the loopback address, ended with the stack; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tool = tools.redis_server()
    process = subprocess.Popen(
        tool.argv("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)),
        env={**os.environ, **tool.environment},
        stdout=subprocess.DEVNULL,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    url = f"redis://127.0.0.1:{port}/0"
    with redis.Redis.from_url(url) as client:
        for _ in range(500):
            try:
                client.ping()
                return url
            except redis.ConnectionError:
                time.sleep(0.02)
    raise SystemExit("Redis does not start")


def main() -> None:
    """Measure every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        shm = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = start_redis(stack, folder)
        here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        consumer = context.Process(target=consume, args=(there, shm, url))
        consumer.start()
        print(f"{rounds} rounds, load average {os.getloadavg()[0]:.1f}; milliseconds, medians")
        print(
            "   MiB   memcpy  shm put  shm get 2memcpy  SET      GET    redis put  get    SET+GET"
        )
        for size in SIZES:
            print(report(size, measure(size, rounds, here, shm, url)), flush=True)
        here.send(None)
        consumer.join()


if __name__ == "__main__":
    main()
