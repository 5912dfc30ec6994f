"""What end-to-end tests do with a pipeline: apply it, wait for it, look at it, ask it for media."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tridentserve.client import GenerationClient, Request, Result
from tridentserve.client.finding import find_endpoint
from tridentserve.client.values import Event
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import apply, eventually, get

Json = dict[str, Any]

SYNTHETIC: Json = {
    "family": "synthetic",
    "seconds": {"encode": 0.01, "diffusePerStep": 0.1, "decode": 0.02},
    "handoffBytes": {"encode": 65536, "diffuse": 131072},
    "default": {"height": 64, "width": 64, "steps": 4, "guidance": 5.0},
    "sizeMultiple": 16,
}


def synthetic_model(models: Path, **changes: Any) -> Path:
    """A new folder among `models` with a synthetic model: `SYNTHETIC`, changed where given."""
    folder = Path(mkdtemp(prefix="synthetic-", dir=models))
    (folder / "synthetic.json").write_text(json.dumps(SYNTHETIC | changes))
    return folder


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """One pipeline of a test."""

    cluster: LocalCluster
    namespace: str
    name: str

    def apply(self, uri: str | Path, **spec: Any) -> None:
        """`kubectl apply` it; a path becomes a `file://` URI. `dtype` is float32 throughout."""
        model = {"uri": f"file://{uri}" if isinstance(uri, Path) else uri, "dtype": "float32"}
        body = {
            "apiVersion": "tridentserve.io/v1alpha1",
            "kind": "DiffusionPipeline",
            "metadata": {"name": self.name},
            "spec": {"model": model, **spec},
        }
        apply(self.cluster, body, namespace=self.namespace)

    def wait(self, condition: str = "Ready", *, within_s: int = 90) -> None:
        """`kubectl wait` for a condition, as it was observed of the newest generation."""
        generation = self.body()["metadata"]["generation"]
        eventually(
            lambda: self.body().get("status", {}).get("observedGeneration", 0) >= generation,
            within_s=within_s,
            what=f"the operator's look at {self.name}",
        )
        arguments = (f"--for=condition={condition}", f"dp/{self.name}", f"--timeout={within_s}s")
        self.cluster.kubectl("-n", self.namespace, "wait", *arguments)

    def body(self) -> Json:
        """The resource as it is now."""
        return get(self.cluster, self.namespace, "dp", self.name)

    def condition(self, kind: str) -> Json:
        """One condition, {} where there is none yet."""
        conditions = self.body().get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def stage(self, name: str) -> Json:
        """Status of one stage, {} where there is none yet."""
        stages = self.body().get("status", {}).get("stages", [])
        return next((one for one in stages if one["name"] == name), {})

    def pods(self, component: str = "") -> list[Json]:
        """Its pods; `component` is encode, diffuse, decode or router."""
        label = f"tridentserve.io/pipeline={self.name}"
        label += f",app.kubernetes.io/component={component}" if component else ""
        listing = self.cluster.kubectl("-n", self.namespace, "get", "pods", "-l", label, "-ojson")
        return list(json.loads(listing)["items"])

    def objects(self, kinds: str) -> list[str]:
        """`kind/name` of everything that was made for it."""
        label = f"tridentserve.io/pipeline={self.name}"
        names = self.cluster.kubectl("-n", self.namespace, "get", kinds, "-l", label, "-oname")
        return names.split()

    def delete(self) -> None:
        """`kubectl delete` it, without waiting for what was made for it."""
        self.cluster.kubectl("-n", self.namespace, "delete", "dp", self.name, "--ignore-not-found")

    def eventually_gone(self, kinds: str) -> None:
        """Wait until nothing of these kinds is left of it."""
        eventually(lambda: not self.objects(kinds), within_s=60, what=f"end of {self.name}")

    def endpoint(self) -> str:
        """`host:port` of its router."""
        return asyncio.run(
            find_endpoint(
                pipeline=self.name,
                namespace=self.namespace,
                kubeconfig=str(self.cluster.kubeconfig),
            )
        )

    def generate(
        self, request: Request, *, on_event: Callable[[Event], None] = lambda event: None
    ) -> Result:
        """Media of one request."""
        endpoint = self.endpoint()

        async def once() -> Result:
            async with GenerationClient(endpoint) as client:
                return await client.generate(request, timeout_s=60, on_event=on_event)

        return asyncio.run(once())
