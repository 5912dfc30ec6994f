"""Channels to our servers, with the options that all of them need."""

import grpc
from grpc import aio

from tridentserve.rpc.server import MAX_MESSAGE_BYTES

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Without these two the peer has a minute to answer a ping, and after two pings of a call that
    # sends nothing more no further ones are sent.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> aio.Channel:
    """A channel to `host:port`; it connects when first used, and again after a loss.

    Keep-alive finds a peer that vanished without closing (a frozen node) within about 20 s. It
    belongs to the event loop that runs here.

    Args:
        address: of the server.
        credentials: None for plain text, as within a cluster.
    """
    if credentials is None:
        return aio.insecure_channel(address, options=_OPTIONS)
    return aio.secure_channel(address, credentials, options=_OPTIONS)
