"""Who the operator is towards the API server: one place for kopf and for the client that writes.

`KUBECONFIG`, where set, comes before the service account of the pod: kopf's own login for service
accounts asks a DNS name that only clusters with cluster DNS know. Projected tokens rotate, so
both users of this module come back every ten minutes.
"""

import datetime
import os

import kopf
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

LIFETIME = datetime.timedelta(minutes=10)
"""Well under the hour for which a projected token is valid at least."""


async def load() -> Configuration:
    """Where the API server is and how to prove who we are.

    Raises:
        kubernetes.aio.config.ConfigException: neither a kubeconfig nor a service account is there.
    """
    found = Configuration()
    if os.environ.get("KUBECONFIG") or not os.environ.get("KUBERNETES_SERVICE_HOST"):
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            client_configuration=found, persist_config=False
        )
    else:
        config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    return found


async def login() -> kopf.ConnectionInfo:
    """The same, as kopf wants it."""
    found = await load()
    scheme, _, token = str(found.api_key.get("BearerToken", "")).rpartition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        ca_data=found.ca_cert_data,
        insecure=not found.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        expiration=datetime.datetime.now(datetime.UTC) + LIFETIME,
    )
