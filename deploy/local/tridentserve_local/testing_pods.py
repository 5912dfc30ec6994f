"""Pods for tests: containers that are small programs, and a look at what became of them.

Every container satisfies restricted Pod Security, which the namespaces of tests enforce.
"""

from __future__ import annotations

from .cluster import LocalCluster
from .testing import apply, eventually, get
from .wire import Json

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(program: str, **fields: object) -> Json:
    """A container that runs a Python program."""
    return {
        "name": "main",
        "image": "ignored",
        "command": ["python", "-u", "-c", program],
        "securityContext": RESTRICTED,
        **fields,
    }


def shell(script: str, **fields: object) -> Json:
    """A container that runs a shell script."""
    return container("", **{"command": ["sh", "-c", script], **fields})


def pod(name: str, *containers: Json, **spec: object) -> Json:
    """A pod that is ended quickly."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, "annotations": {"note": "a b"}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": list(containers), **spec},
    }


class Pods:
    """Pods of one namespace, made and looked at by a test."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        """Keep where they are."""
        self.cluster = cluster
        self.namespace = namespace

    def apply(self, *objects: Json) -> None:
        """Creates objects in the namespace."""
        apply(self.cluster, *objects, namespace=self.namespace)

    def get(self, name: str) -> Json:
        """The pod as the API server has it."""
        return get(self.cluster, self.namespace, "pod", name)

    def status(self, name: str, container: str = "main") -> Json:
        """The status of one container, {} before there is one."""
        status = self.get(name).get("status", {})
        both = status.get("containerStatuses", []) + status.get("initContainerStatuses", [])
        return next((c for c in both if c["name"] == container), {})

    def phase(self, name: str) -> str:
        """The phase of a pod."""
        return str(self.get(name)["status"].get("phase"))

    def wait(self, condition: str, what: str, within_s: int = 30) -> None:
        """`kubectl wait`."""
        self.kubectl("wait", f"--for={condition}", what, f"--timeout={within_s}s")

    def wait_phase(self, name: str, phase: str) -> None:
        """Until the pod has this phase."""
        self.wait(f"jsonpath={{.status.phase}}={phase}", f"pod/{name}")

    def logs(self, name: str, *options: str) -> str:
        """`kubectl logs`."""
        return self.kubectl("logs", name, *options)

    def kubectl(self, *arguments: str) -> str:
        """`kubectl` in the namespace."""
        return self.cluster.kubectl("-n", self.namespace, *arguments)

    def wait_log(self, name: str, text: str) -> str:
        """The log, once it holds a text."""

        def log() -> str:
            found = self.cluster.kubectl("-n", self.namespace, "logs", name, check=False)
            return found if text in found else ""

        return eventually(log, what=f"{text!r} in the log of {name}")

    def reasons(self, name: str) -> set[str]:
        """Reasons of the events of a pod."""
        events = get(self.cluster, self.namespace, "events")["items"]
        return {e["reason"] for e in events if e["involvedObject"]["name"] == name}
