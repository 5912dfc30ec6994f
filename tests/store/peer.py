"""A process with a store: says "ready", then is told what to do by lines of JSON, and answers each.

    peer.py shm DIRECTORY | peer.py redis URL

`["put", [seed, bytes]]` answers a reference, `["get", reference]` the checksum of the data or the
name of an error, `["delete", reference]` and `["reap", now]` null. `put-half` and `get-half` answer
"half" in the middle of the work and then hang: whoever sent them kills this process.
"""

import json
import sys
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, NoReturn
from unittest.mock import patch

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.tensors import Tensor, TensorInfo, TensorRef
from tridentserve.errors import TridentServeError
from tridentserve.store.base import TensorStore
from tridentserve.store.redis import CHUNK_BYTES, RedisStore
from tridentserve.store.shm import SharedMemoryStore


def make(seed: int, size_bytes: int) -> dict[str, Tensor]:
    data = memoryview(Random(seed).randbytes(size_bytes))
    return {"data": Tensor(dtype="uint8", shape=(size_bytes,), data=data)}


def read_ref(value: dict[str, Any]) -> TensorRef:
    infos = tuple(
        TensorInfo(**{**info, "shape": tuple(info["shape"])}) for info in value["tensors"]
    )
    domain = MemoryDomain(value["domain"]) if value["domain"] else None
    return TensorRef(**{**value, "tensors": infos, "domain": domain})


def hang(*_: object, **__: object) -> NoReturn:
    answer("half")
    while True:
        time.sleep(60)


def answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def put_half(store: TensorStore, seed: int, size_bytes: int) -> None:
    if isinstance(store, SharedMemoryStore):
        with patch("tridentserve.store.slots.Slot.label", hang):
            store.put(make(seed, size_bytes), ttl_s=60, now=time.time())
    assert isinstance(store, RedisStore)
    send = store._send

    def send_half(key: str, data: memoryview, ttl_s: float) -> None:
        send(key, data[: data.nbytes // 2 // CHUNK_BYTES * CHUNK_BYTES], ttl_s)
        hang()

    with patch.object(store, "_send", send_half):
        store.put(make(seed, size_bytes), ttl_s=60, now=time.time())


def get_half(store: TensorStore, ref: TensorRef) -> None:
    # Just before the copy: a slot's shared lock is held by now.
    where = "tridentserve.store.slots._check"
    with patch(where if isinstance(store, SharedMemoryStore) else "zlib.crc32", hang):
        store.get(ref)


def obey(store: TensorStore, verb: str, value: Any) -> object:
    match verb:
        case "put":
            return asdict(store.put(make(*value), ttl_s=60, now=time.time()))
        case "put-half":
            put_half(store, *value)
        case "get":
            return zlib.crc32(store.get(read_ref(value))["data"].data)
        case "get-half":
            get_half(store, read_ref(value))
        case "delete":
            store.delete(read_ref(value))
        case "reap":
            store.reap(now=value)
    return None


def main() -> None:
    kind, place = sys.argv[1:]
    store: TensorStore
    if kind == "shm":
        store = SharedMemoryStore(Path(place), capacity_bytes=1 << 26)
    else:
        store = RedisStore(place, prefix="test", timeout_s=10)
    answer("ready")
    for line in sys.stdin:
        verb, value = json.loads(line)
        try:
            answer(obey(store, verb, value))
        except TridentServeError as error:
            answer(type(error).__name__)
    store.close()


if __name__ == "__main__":
    main()
