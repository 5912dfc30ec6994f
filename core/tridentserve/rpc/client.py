"""Channels to our servers, with the options that all of them need."""

from grpc import aio

from tridentserve.rpc.server import MAX_MESSAGE_BYTES


def channel(address: str) -> aio.Channel:
    """A channel to `host:port`; it connects when first used, and again after a loss.

    Keep-alive finds a peer that vanished without closing (a frozen node) within about 20 s.
    """
    return aio.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            # Without these two the peer has a minute to answer a ping, and after two pings of a
            # call that sends nothing more no further ones are sent.
            ("grpc.http2.ping_timeout_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ],
    )
