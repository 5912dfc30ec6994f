"""How a program talks to a running cluster: one HTTP call over its control socket.

Apart from `control`, which answers: whoever only asks need not import what a cluster is made of.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

from tridentserve.errors import NotFoundError, TemporaryError, UnavailableError

from .wire import Json


def ask(path: Path, verb: str, route: str, *, timeout_s: float = 60.0) -> Json:
    """One call to a running cluster.

    Raises:
        UnavailableError: nobody answers at the socket.
        NotFoundError: it knows no such pod, node or service.
        TemporaryError: it could not do it.
    """
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(verb, route)
        response = connection.getresponse()
        answer: Json = json.loads(response.read() or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnavailableError(f"no cluster answers at {path}: {error}") from error
    finally:
        connection.close()
    if response.status == 404:
        raise NotFoundError(answer.get("error", route))
    if response.status >= 400:
        raise TemporaryError(answer.get("error", route))
    return answer


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
