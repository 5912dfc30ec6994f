"""What the router and the client see of a real API server."""

import asyncio
import json
from typing import Any

import pytest
from tests.router.conftest import until

from tridentserve import errors
from tridentserve.client.finding import find_endpoint
from tridentserve.domain.ids import PipelineName
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing_pods import pod, shell
from tridentserve_router.pods import KubernetesPods, Pods

pytestmark = pytest.mark.cluster

FLUX = {"tridentserve.io/pipeline": "flux"}


def apply(cluster: LocalCluster, namespace: str, name: str, **labels: str) -> None:
    body: dict[str, Any] = dict(pod(name, shell("sleep 600")))
    body["metadata"] = {"name": name, "labels": FLUX | labels}
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(body))


async def test_pods_are_followed_from_their_address_to_their_end(
    local_cluster: LocalCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(local_cluster.kubeconfig))
    seen: list[Pods] = []

    async def follow() -> None:
        async for picture in KubernetesPods(PipelineName(f"{namespace}/flux")).watch():
            seen.append(picture)

    following = asyncio.create_task(follow())
    kubectl = local_cluster.kubectl
    try:
        await until(lambda: len(seen) == 1)
        await asyncio.to_thread(
            apply, local_cluster, namespace, "worker", **{"tridentserve.io/stages": "encode"}
        )
        await asyncio.to_thread(apply, local_cluster, namespace, "router")
        await until(lambda: list(seen[-1]) == ["worker"])
        found = next(iter(seen[-1].values()))
        assert found.address.startswith("127.")
        assert found.address.endswith(":8500")
        assert not found.draining
        label = ("label", "pod", "worker", "tridentserve.io/draining=true")
        await asyncio.to_thread(kubectl, "-n", namespace, *label)
        await until(lambda: next(iter(seen[-1].values())).draining)
        delete = ("delete", "pod", "worker", "--wait=false")
        await asyncio.to_thread(kubectl, "-n", namespace, *delete)
        await until(lambda: not seen[-1])
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_the_routers_pod_is_found_through_the_kubeconfig(
    local_cluster: LocalCluster, namespace: str
) -> None:
    where = {"namespace": namespace, "kubeconfig": str(local_cluster.kubeconfig)}
    with pytest.raises(errors.NotFoundError, match="no pipeline has a router"):
        await find_endpoint(pipeline=None, **where)
    await asyncio.to_thread(
        apply, local_cluster, namespace, "r", **{"app.kubernetes.io/component": "router"}
    )
    wait = ("wait", "--for=condition=Ready", "pod/r", "--timeout=30s")
    await asyncio.to_thread(local_cluster.kubectl, "-n", namespace, *wait)
    endpoint = await find_endpoint(pipeline=None, **where)

    assert endpoint.startswith("127.")
    assert endpoint.endswith(":8500")
    assert endpoint == await find_endpoint(pipeline="flux", **where)
