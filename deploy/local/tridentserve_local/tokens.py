"""Service account tokens, bound to the pod that they are for, and a kubeconfig that names one.

A token is asked for again when 80 % of its life has passed, as the kubelet does. Deleting the pod
makes its tokens worthless at once, because they are bound to its uid.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from .api import Api
from .specs import Pod, TokenFile
from .wire import parse_timestamp

_RENEW_AFTER = 0.8


class Tokens:
    """The tokens of one pod, by volume and path."""

    def __init__(self, api: Api, pod: Pod) -> None:
        """Begin with no token."""
        self._api = api
        self._pod = pod
        self._held: dict[tuple[str, str], tuple[str, float]] = {}

    async def get(self, volume: str, wanted: TokenFile, now: float) -> str:
        """A token with at least a fifth of its life left.

        Raises:
            ApiError: the API server gives none.
        """
        held = self._held.get((volume, wanted.path))
        if held is not None and now < held[1]:
            return held[0]
        token, expires_at = await self._request(wanted)
        renew_at = now + _RENEW_AFTER * min(wanted.expiration_s, expires_at - now)
        self._held[(volume, wanted.path)] = (token, renew_at)
        return token

    async def _request(self, wanted: TokenFile) -> tuple[str, float]:
        pod = self._pod
        answer = await self._api.create(
            f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{pod.service_account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "audiences": [wanted.audience] if wanted.audience else [],
                    "expirationSeconds": wanted.expiration_s,
                    "boundObjectRef": {
                        "kind": "Pod",
                        "apiVersion": "v1",
                        "name": pod.name,
                        "uid": pod.uid,
                    },
                },
            },
        )
        status = answer["status"]
        return status["token"], parse_timestamp(status["expirationTimestamp"])


def write_kubeconfig(path: Path, *, server: str, account: Path, namespace: str) -> None:
    """A kubeconfig for a container: the token by file, so that a renewed one is found."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "clusters": [
            {
                "name": "local",
                "cluster": {"server": server, "certificate-authority": str(account / "ca.crt")},
            }
        ],
        "users": [{"name": "pod", "user": {"tokenFile": str(account / "token")}}],
        "contexts": [
            {"name": "pod", "context": {"cluster": "local", "user": "pod", "namespace": namespace}}
        ],
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
