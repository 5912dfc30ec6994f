"""The product on a local cluster: both charts, installed by a real Helm.

Redis and Prometheus are the cluster's own, as managed services outside of a real cluster would be.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .cluster import LocalCluster
from .starting import ClusterError
from .toolchain import tools
from .toolchain.checkout import ROOT
from .wire import Json

RELEASE = "tridentserve"
NAMESPACE = "tridentserve-system"
SHARED_MEMORY_PATH = "/var/lib/tridentserve/shm"
"""On every node; a node of the local cluster maps it to a tmpfs folder of its own."""

_CHARTS = ROOT / "deploy" / "helm"
_HELM_S = 180.0


def install(
    cluster: LocalCluster,
    *,
    file_roots: Sequence[Path] = (),
    shared_memory_namespaces: Sequence[str] = (),
    values: Json | None = None,
) -> None:
    """Install or upgrade the definitions and the operator, and wait until it runs.

    `values` stand beside and above those that follow from the arguments.

    Raises:
        ClusterError: Helm refuses, and here is what it says.
        ToolMissingError: there is no Helm.
    """
    chosen = release_values(cluster, file_roots, shared_memory_namespaces) | (values or {})
    helm(cluster, "upgrade", "--install", f"{RELEASE}-crds", str(_CHARTS / "tridentserve-crds"))
    chart = str(_CHARTS / "tridentserve")
    stdin = json.dumps(chosen)
    helm(cluster, "upgrade", "--install", RELEASE, chart, "--wait", "-f", "-", stdin=stdin)


def release_values(
    cluster: LocalCluster, file_roots: Sequence[Path], shared_memory_namespaces: Sequence[str]
) -> Json:
    """The chart's values for this cluster: short intervals, its Redis and its Prometheus."""
    shared = {
        "mode": "HostPath",
        "hostPath": SHARED_MEMORY_PATH,
        "namespaces": list(shared_memory_namespaces),
    }
    return {
        "redis": {"url": cluster.redis_url},
        "prometheus": {"url": cluster.prometheus_url},
        "model": {"fileRoots": [str(root) for root in file_roots]},
        "sharedMemory": shared if shared_memory_namespaces else {"mode": "None"},
        "intervals": {
            "loadWindowSeconds": 10,
            "loadSeconds": 1,
            "loadMaxAgeSeconds": 10,
            # No autoscaler adds a node here, so a pod that finds no room never will.
            "unschedulableSeconds": 5,
            "retrySeconds": 60,
        },
    }


def uninstall(cluster: LocalCluster) -> None:
    """Take the operator away; the definitions and every pipeline stay."""
    helm(cluster, "uninstall", RELEASE, "--wait")


def helm(cluster: LocalCluster, *arguments: str, stdin: str | None = None) -> str:
    """What `helm` prints, in the namespace of the product.

    Raises:
        ClusterError: it fails.
    """
    tool = tools.helm()
    done = subprocess.run(
        tool.argv(*arguments, "--namespace", NAMESPACE, *_create(arguments)),
        env={**os.environ, **tool.environment, **cluster.client_environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_HELM_S,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(f"helm {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _create(arguments: Sequence[str]) -> tuple[str, ...]:
    return ("--create-namespace",) if arguments[0] == "upgrade" else ()
