"""Tensors in Redis, for workers that share no memory.

A set is cut into chunks of 1 MB under keys of their own, sent in one pipeline that is no
transaction: one large SET takes the server and the client about twice as long. Nobody can see half
a set, since its reference exists only after the last chunk is acknowledged, and no key is ever
written twice.

- Ownership: keys carry a random owner; only that store deletes them, while it lives. What could not
  be deleted because the server was away is tried again by `reap`.
- Lease: a key lives for `LEASE_S` and is prolonged by `reap` until its own expiry, so that what a
  killed owner leaves, even half a set that nobody ever heard of, is gone within that time.
- Capacity: the server's `maxmemory`. A full server must refuse (`noeviction`), which is checked:
  one that evicts would lose tensors silently.
- Integrity: a CRC-32 of the whole, in the reference.
- Time: every call has a timeout, and is tried again once, since a restarted server leaves dead
  connections in the pool.
"""

import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count

import redis
from redis.backoff import NoBackoff
from redis.connection import PythonRespSerializer
from redis.retry import Retry

from tridentserve.domain.names import ENV_REDIS_URL
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import (
    ExhaustedError,
    InvalidFieldError,
    TensorCorruptedError,
    TensorMissingError,
    UnavailableError,
)
from tridentserve.store import codec
from tridentserve.store.buffers import BufferPool

# A little less than 1 MB: with its header, a value of just that would take 1.25 MB of the server.
CHUNK_BYTES = (1 << 20) - 256
_MAX_SET_BYTES = 1 << 34
LEASE_S = 30.0
"""Six times the interval in which workers call `reap`: a busy one must not lose its tensors."""
_READ_TOGETHER = 2
"""Chunks asked for at once; more do not fit into the cache, and 32 MB took twice as long."""
_SOCKET_READ_BYTES = 1 << 18
_PACK_BYTES = 6000


class RedisStore:
    """One worker's keys on a server, and its window on everybody else's."""

    def __init__(self, url: str, *, prefix: str = "tridentserve", timeout_s: float = 5.0) -> None:
        """Prepare; the server is contacted by the first call.

        Raises:
            InvalidFieldError: the URL is none, or has options that nobody knows.
        """
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                socket_read_size=_SOCKET_READ_BYTES,
                # The packer of hiredis copies every value twice; this one sends it from where it
                # lies, in a fifth of the time.
                command_packer=PythonRespSerializer(_PACK_BYTES, _encode),
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
            # The parser keeps unknown options, and each call would fail on them.
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)
        except (ValueError, TypeError, redis.RedisError):
            # Not the parser's words, which may quote a part of the password.
            raise InvalidFieldError(
                ENV_REDIS_URL,
                "is no address of Redis; write redis://:PASSWORD@HOST:6379/0, in the password %2F"
                " for / and %23 for #, and only options that Redis clients know",
            ) from None
        self._prefix = prefix
        self._owner = uuid.uuid4().hex
        self._numbers = count(1)
        self._buffers = BufferPool()
        self._lock = threading.Lock()
        # Keys with their length and expiry: being written, written, and to be deleted.
        self._sending: dict[str, tuple[int, float]] = {}
        self._held: dict[str, tuple[int, float]] = {}
        self._doomed: dict[str, tuple[int, float]] = {}
        self._policy_checked = False
        self._closed = False
        self._prolonged_s = 0.0

    @property
    def name(self) -> str:
        """`redis`."""
        return "redis"

    @property
    def domain(self) -> None:
        """None: everybody who reaches the server can read."""
        return None

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """Store a set; see `TensorStore.put`."""
        layout = codec.plan(tensors)
        data = self._buffers.take(layout.size_bytes)
        codec.write(layout, tensors, data)
        key = f"{self._owner}/{next(self._numbers)}"
        with self._lock:
            self._require_open()
            self._sending[key] = (layout.size_bytes, now + ttl_s)
        try:
            kept = self._write(key, data, ttl_s)
        except ExhaustedError:
            # Its first chunks take the room; what a server that is away has is left to `reap`.
            with suppress(UnavailableError):
                self._delete_doomed()
            raise
        if not kept:
            self._delete_doomed()
            raise UnavailableError("the store is closed")
        return TensorRef(
            store=self.name,
            key=key,
            tensors=layout.infos,
            size_bytes=layout.size_bytes,
            checksum=zlib.crc32(data),
            expires_s=now + ttl_s,
            domain=None,
        )

    def get(self, ref: TensorRef) -> Mapping[str, Tensor]:
        """Read a set; see `TensorStore.get`."""
        if ref.store != self.name or not 0 <= ref.size_bytes <= _MAX_SET_BYTES:
            raise TensorMissingError(f"{ref.key} is not in this store")
        self._require_open()
        keys = list(self._chunk_keys(ref.key, ref.size_bytes))
        position = checksum = 0
        data = memoryview(b"")
        for first in range(0, len(keys), _READ_TOGETHER):
            for chunk in self._read(keys[first : first + _READ_TOGETHER]):
                if not data:
                    # Only now: sizes come over the network, and may be absurd.
                    data = self._buffers.take(ref.size_bytes)
                if position + len(chunk) > data.nbytes:
                    raise TensorCorruptedError(f"{ref.key} is longer than {data.nbytes} bytes")
                data[position : position + len(chunk)] = chunk
                position += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
        if (position, checksum) != (ref.size_bytes, ref.checksum):
            raise TensorCorruptedError(f"{ref.key} is not what was put")
        return codec.read(data, ref.tensors)

    def delete(self, ref: TensorRef) -> None:
        """Forget a set of this worker's; see `TensorStore.delete`."""
        with self._lock:
            entry = self._held.pop(ref.key, None) if ref.store == self.name else None
            if entry:
                self._doomed[ref.key] = entry
        if entry:
            self._delete_doomed()

    def discard(self, ref: TensorRef) -> None:
        """Forget a set of a dead owner, which nobody else could do before its time is up."""
        if ref.store == self.name and 0 < ref.size_bytes <= _MAX_SET_BYTES:
            with _failures():
                self._client.unlink(*self._chunk_keys(ref.key, ref.size_bytes))

    def reap(self, *, now: float) -> None:
        """Delete what could not be deleted before, and prolong the rest.

        What has expired is only forgotten: the server deletes it.
        """
        with self._lock:
            for entries in (self._held, self._doomed):
                for key in [key for key, (_, expires_s) in entries.items() if expires_s <= now]:
                    del entries[key]
        # First, and whatever becomes of the rest: a server may refuse only to delete.
        with suppress(UnavailableError):
            self._prolong(now)
        with suppress(UnavailableError):
            self._delete_doomed()

    def close(self) -> None:
        """Delete what is left of this worker's, where the server can be reached."""
        with self._lock:
            self._closed = True
            self._doomed |= self._held
            self._held.clear()
        with suppress(UnavailableError):
            self._delete_doomed()
        self._client.close()

    def _read(self, keys: Sequence[str]) -> list[bytes]:
        with _failures():
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.get(key)
            found: list[bytes | None] = pipeline.execute()
        if None in found:
            raise TensorMissingError(f"{keys[found.index(None)]} is not in Redis (any more)")
        return [chunk for chunk in found if chunk is not None]

    def _write(self, key: str, data: memoryview, ttl_s: float) -> bool:
        """Send a set, and note what became of it; True where it is kept."""
        written = False
        try:
            with _failures():
                self._check_policy()
                self._send(key, data, ttl_s)
            written = True
        finally:
            with self._lock:
                entry = self._sending.pop(key)
                kept = written and not self._closed
                (self._held if kept else self._doomed)[key] = entry
            if not written:
                self._policy_checked = False  # a server that comes back may be set up differently
        return kept

    def _send(self, key: str, data: memoryview, ttl_s: float) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for number, chunk_key in enumerate(self._chunk_keys(key, data.nbytes)):
            chunk = data[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
            pipeline.set(chunk_key, chunk, px=_milliseconds(ttl_s))
        pipeline.execute()

    def _prolong(self, now: float) -> None:
        if 0 <= now - self._prolonged_s < LEASE_S / 4:
            return
        with self._lock:
            kept = self._sending | self._held
        if kept:
            with _failures():
                pipeline = self._client.pipeline(transaction=False)
                for key, (size, expires_s) in kept.items():
                    for chunk_key in self._chunk_keys(key, size):
                        pipeline.pexpire(chunk_key, _milliseconds(expires_s - now))
                pipeline.execute()
        self._prolonged_s = now

    def _delete_doomed(self) -> None:
        with self._lock:
            doomed = dict(self._doomed)
        if not doomed:
            return
        with _failures():
            self._client.unlink(
                *(name for key, (size, _) in doomed.items() for name in self._chunk_keys(key, size))
            )
        with self._lock:
            for key in doomed:
                self._doomed.pop(key, None)

    def _check_policy(self) -> None:
        if self._policy_checked:
            return
        with suppress(redis.ResponseError):  # INFO may be forbidden; then nothing can be known
            memory = self._client.info("memory")
            policy = memory.get("maxmemory_policy", "noeviction")
            if memory.get("maxmemory") and policy != "noeviction":
                raise UnavailableError(
                    f"Redis would drop tensors when it is full (maxmemory-policy is {policy}):"
                    " set it to noeviction"
                )
        self._policy_checked = True

    def _require_open(self) -> None:
        if self._closed:
            raise UnavailableError("the store is closed")

    def _chunk_keys(self, key: str, size_bytes: int) -> Iterator[str]:
        for number in range(-(-size_bytes // CHUNK_BYTES)):
            yield f"{self._prefix}:{key}:{number}"


def _milliseconds(left_s: float) -> int:
    return max(1, round(min(left_s, LEASE_S) * 1000))


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what the client raises into our errors."""
    try:
        yield
    except redis.OutOfMemoryError as error:
        raise ExhaustedError(f"Redis is full: {error}") from error
    except redis.ResponseError as error:
        raise UnavailableError(f"Redis refuses: {error}") from error
    except (redis.RedisError, OSError) as error:
        raise UnavailableError(f"Redis cannot be reached: {error}") from error


def _encode(argument: bytes | memoryview | str | float) -> bytes | memoryview:
    return argument if isinstance(argument, bytes | memoryview) else str(argument).encode()
