"""What it costs to hand a tensor to another process, in units of what it must cost at least.

    python benchmarks/hops.py [--rounds 30]

One process puts, another gets, for each size and in each of these ways:

- `memcpy`: each copies as many bytes between blocks of its own, which is the unit of the shm hop;
- `bare`: one copies into a mapping that both have, the other out of it, with nothing around it;
- `shm` and `redis`: the stores;
- `plain`: redis-py's SET and GET as they come, which is the unit of the Redis hop.

All are timed in turns, round by round, so that other load meets all alike. Medians are compared,
since ratios of minima flatter whoever was lucky.
"""

import argparse
import mmap
import multiprocessing
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
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
KEY = "plain"
WAYS = ("memcpy", "bare", "shm", "plain", "redis")


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


def copier(source: memoryview, target: memoryview) -> Callable[[], None]:
    """Copies one block into the other, which is as long."""

    def copy() -> None:
        target[:] = source

    copy()
    return copy


def block(size: int) -> memoryview:
    """Warm memory of this process's own."""
    return memoryview(bytearray(os.urandom(size)))


def shared_block(shm: Path, size: int) -> memoryview:
    """Memory that both processes have mapped."""
    descriptor = os.open(shm / f"bare-{size}", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, size)
    mapping = mmap.mmap(descriptor, size)
    os.close(descriptor)
    return memoryview(mapping)


def consume(pipe: Connection, shm: Path, url: str) -> None:
    """The reading process: answers (way, size, reference) with the seconds that reading took."""
    copies = {size: copier(block(size), block(size)) for size in SIZES}
    bare = {size: copier(shared_block(shm, size), block(size)) for size in SIZES}
    stores = {name: open_store(name, shm, url) for name in ("shm", "redis")}
    plain = redis.Redis.from_url(url)
    while (message := pipe.recv()) is not None:
        way, size, ref = message
        if way == "memcpy":
            pipe.send(timed(copies[size]))
        elif way == "bare":
            pipe.send(timed(bare[size]))
        elif way == "plain":
            pipe.send(timed(partial(plain.get, KEY)))
        else:
            pipe.send(timed(partial(stores[way].get, ref)))
    for store in stores.values():
        store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One size in every way."""

    size_bytes: int
    ms: Mapping[str, float]
    """Median milliseconds by `WAY put` and `WAY get`."""

    def ratio(self, way: str, unit: str) -> float:
        """Putting and getting in one way over the same in another."""
        return self._hop(way) / self._hop(unit)

    def _hop(self, way: str) -> float:
        return self.ms[f"{way} put"] + self.ms[f"{way} get"]


def measure(size: int, rounds: int, pipe: Connection, shm: Path, url: str) -> Hop:
    """Put and get in every way, in turns."""
    data = block(size)
    tensors = {"t": Tensor(dtype="uint8", shape=(size,), data=data)}
    stores = {name: open_store(name, shm, url) for name in ("shm", "redis")}
    client = redis.Redis.from_url(url)
    refs: dict[str, TensorRef] = {}

    def put(name: str) -> None:
        refs[name] = stores[name].put(tensors, ttl_s=60, now=time.time())

    puts: dict[str, Callable[[], object]] = {
        "memcpy": copier(data, block(size)),
        "bare": copier(data, shared_block(shm, size)),
        "plain": partial(client.set, KEY, bytes(data), ex=60),
        **{name: partial(put, name) for name in stores},
    }
    samples: dict[str, list[float]] = {f"{way} {end}": [] for way in WAYS for end in ("put", "get")}
    for _ in range(WARM_UP + rounds):
        for way in WAYS:
            samples[f"{way} put"].append(timed(puts[way]))
            pipe.send((way, size, refs.get(way)))
            samples[f"{way} get"].append(pipe.recv())
            if way in stores:
                stores[way].delete(refs[way])
    client.delete(KEY)
    for store in stores.values():
        store.close()
    ms = {name: 1e3 * statistics.median(values[WARM_UP:]) for name, values in samples.items()}
    return Hop(size_bytes=size, ms=ms)


HEADER = (
    f"put and get, median ms\n{'MiB':>5} "
    + " ".join(f"{way:>16}" for way in WAYS)
    + f"{'shm/memcpy':>13} {'shm/bare':>9} {'redis/plain':>11}"
)


def line(hop: Hop) -> str:
    """One row of the table."""
    cells = [f"{hop.ms[f'{way} put']:>8.3f} {hop.ms[f'{way} get']:>7.3f}" for way in WAYS]
    return (
        f"{hop.size_bytes / MIB:>5.1f} {' '.join(cells)} {hop.ratio('shm', 'memcpy'):>11.2f}x"
        f" {hop.ratio('shm', 'bare'):>8.2f}x {hop.ratio('redis', 'plain'):>10.2f}x"
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


def run(rounds: int) -> Iterator[Hop]:
    """Measure each size, with a reading process and a Redis that end with the iteration."""
    with ExitStack() as stack:
        shm = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = start_redis(stack, folder)
        here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        consumer = context.Process(target=consume, args=(there, shm, url))
        consumer.start()
        stack.callback(consumer.join)
        stack.callback(here.send, None)
        for size in SIZES:
            yield measure(size, rounds, here, shm, url)


def main() -> None:
    """Measure every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    print(f"{rounds} rounds, load average {os.getloadavg()[0]:.1f}; {HEADER}")
    for hop in run(rounds):
        print(line(hop), flush=True)


if __name__ == "__main__":
    main()
