"""The operator as a process against the real API server, controllers and scheduler."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.manifest.profile_text import profile_text
from tests.operator.api_server import use_kubeconfig

from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import apply, eventually, get
from tridentserve_operator.handlers import KINDS
from tridentserve_operator.kube import Kube

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
CHILDREN = ("deployments", "services", "serviceaccounts", "rolebindings", "pods")
MODEL = {
    "family": "synthetic",
    "seconds": {"encode": 0.01, "diffusePerStep": 0.01, "decode": 0.01},
    "handoffBytes": {"encode": 1024, "diffuse": 1024},
    "default": {"height": 64, "width": 64, "steps": 4, "guidance": 5.0},
    "sizeMultiple": 16,
}


class Operator:
    """An operator that serves one namespace, and a user of it."""

    def __init__(self, cluster: LocalCluster, namespace: str, folder: Path) -> None:
        """Prepare; nothing runs yet."""
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.models = folder / "models"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **further: str) -> None:
        """Start the process, with `further` variables."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "POD_IP": "127.0.0.1",
            "TRIDENTSERVE_METRICS_PORT": "0",
            "TRIDENTSERVE_WATCH_NAMESPACES": self.namespace,
            "TRIDENTSERVE_PROMETHEUS_URL": self.cluster.prometheus_url,
            "TRIDENTSERVE_REDIS_URL": self.cluster.redis_url,
            "TRIDENTSERVE_FILE_ROOTS": str(self.models),
            "TRIDENTSERVE_LOG_FORMAT": "text",
            "TRIDENTSERVE_CPU_UNIT": "100m",
            "TRIDENTSERVE_TICK_SECONDS": "0.3",
            **further,
        }
        with (self.folder / "operator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tridentserve_operator"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self, how: int = signal.SIGKILL) -> int:
        """End the process; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(20)
        self.process = None
        return code

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "operator.log").read_text()

    def model(self, name: str) -> str:
        """Make a model that takes no time; returns its URI."""
        folder = self.models / name
        folder.mkdir(parents=True)
        (folder / "synthetic.json").write_text(json.dumps(MODEL))
        return f"file://{folder}"

    def apply(self, uri: str, **spec: Any) -> None:
        """`kubectl apply` of the pipeline `flux`."""
        body = {
            "apiVersion": "tridentserve.io/v1alpha1",
            "kind": "DiffusionPipeline",
            "metadata": {"name": "flux"},
            "spec": {"model": {"uri": uri}, "drainSeconds": 5, **spec},
        }
        apply(self.cluster, body, namespace=self.namespace)

    def pipeline(self) -> dict[str, Any]:
        """The resource."""
        return get(self.cluster, self.namespace, "dp", "flux")

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition, {} before there is one."""
        conditions = self.pipeline().get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def wait(self, what: str = "condition=Ready") -> None:
        """`kubectl wait` for the pipeline."""
        self.kubectl("wait", f"--for={what}", "dp/flux", "--timeout=90s")

    def names(self, kind: str) -> set[str]:
        """Names of all objects of a kind, but for those that every namespace has."""
        found = get(self.cluster, self.namespace, kind)["items"]
        return {one["metadata"]["name"] for one in found} - {"default"}

    def kubectl(self, *arguments: str) -> str:
        """`kubectl` in the namespace."""
        return self.cluster.kubectl("-n", self.namespace, *arguments)


@pytest.fixture(scope="session")
def prepared_cluster(local_cluster: LocalCluster) -> LocalCluster:
    """A cluster that knows the resource and the router's role."""
    definition = yaml.safe_load((ROOT / "crds/diffusionpipelines.yaml").read_text())
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "tridentserve-router"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {
                "apiGroups": ["tridentserve.io"],
                "resources": ["diffusionpipelines"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]},
        ],
    }
    apply(local_cluster, definition, role)
    served = "/apis/tridentserve.io/v1alpha1/diffusionpipelines"
    eventually(
        lambda: local_cluster.kubectl("get", "--raw", served, check=False),
        what="DiffusionPipeline is served",
    )
    return local_cluster


@pytest.fixture
def operator(prepared_cluster: LocalCluster, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    running = Operator(prepared_cluster, namespace, tmp_path)
    running.start()
    try:
        yield running
    finally:
        if running.process is not None:
            running.kill()
        sys.stderr.write(running.log)


def test_what_is_listed_is_everything_that_is_there(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_kubeconfig(operator.cluster.kubeconfig, monkeypatch)

    async def listed(kind: str) -> frozenset[str]:
        kube = Kube()
        try:
            return await kube.uids(kind, operator.namespace)
        finally:
            await kube.close()

    assert asyncio.run(listed("DiffusionPipeline")) == frozenset()

    operator.apply(operator.model("a"))
    operator.wait()

    for kind in KINDS:
        found = get(operator.cluster, operator.namespace, kind)["items"]
        ours = {one["metadata"]["uid"] for one in found if one["metadata"]["name"] != "default"}
        assert asyncio.run(listed(kind)) == ours != set()


def test_a_pipeline_lives_from_apply_to_delete(operator: Operator) -> None:
    operator.apply(operator.model("a"))
    operator.wait()

    pipeline = operator.pipeline()
    revision = pipeline["status"]["revision"]
    pools = {f"flux-{stage}-100-{revision}" for stage in ("encode", "diffuse", "decode")}
    assert operator.names("deployments") == pools | {"flux-router"}
    assert operator.names("services") == {"flux-router"}
    assert operator.names("serviceaccounts") == {"flux-router"}
    assert len(operator.names("rolebindings")) == 1
    assert pipeline["status"]["observedGeneration"] == 1
    assert [stage["summary"] for stage in pipeline["status"]["stages"]] == ["1/1"] * 3
    assert "finalizers" not in pipeline["metadata"]
    assert set(pipeline["metadata"]["annotations"]) == {
        "kubectl.kubernetes.io/last-applied-configuration"
    }
    assert "True" in operator.kubectl("get", "dp", "flux")
    eventually(lambda: operator.condition("MetricsAvailable").get("status") == "True")

    pods = operator.names("pods")
    operator.apply(operator.model("b").replace("/b", "/a"), limits={"maxPixels": 4096})
    operator.wait("jsonpath={.status.observedGeneration}=2")
    assert operator.names("pods") == pods

    operator.kubectl("delete", "dp", "flux", "--timeout=30s")
    # The garbage collector looks for new kinds of owners every 30 s, and this one may be new.
    eventually(
        lambda: not any(operator.names(kind) for kind in CHILDREN),
        within_s=90,
        what="garbage collection",
    )


def test_a_rollout_survives_a_killed_operator_and_never_loses_the_chain(
    operator: Operator,
) -> None:
    operator.apply(operator.model("a"))
    operator.wait()
    first = operator.pipeline()["status"]["revision"]

    operator.apply(operator.model("b"))
    eventually(lambda: len(operator.names("deployments")) > 4)
    operator.kill()
    assert _pools(operator, first) == 3
    operator.start()
    operator.wait("jsonpath={.status.observedGeneration}=2")
    eventually(
        lambda: _pools(operator, first) == 0 and operator.condition("Ready")["status"] == "True",
        within_s=90,
    )

    available = operator.condition("Available")
    ready = operator.condition("Ready")
    assert available["lastTransitionTime"] <= ready["lastTransitionTime"]
    assert operator.condition("Progressing")["status"] in ("True", "False")
    assert len(operator.names("deployments")) == 4


def _pools(operator: Operator, revision: str) -> int:
    return sum(name.endswith(revision) for name in operator.names("deployments"))


def test_suspending_takes_the_workers_and_resuming_brings_them_back(operator: Operator) -> None:
    uri = operator.model("a")
    operator.apply(uri)
    operator.wait()

    operator.apply(uri, suspend=True)
    eventually(lambda: operator.names("deployments") == {"flux-router"}, within_s=60)
    assert operator.condition("Ready")["reason"] == "Suspended"

    operator.apply(uri, suspend=False)
    operator.wait()


def test_a_model_that_is_not_there_degrades_with_a_sentence_and_mends_itself(
    operator: Operator,
) -> None:
    operator.apply(f"file://{operator.models}/late")
    eventually(lambda: operator.condition("Degraded").get("status") == "True", within_s=60)
    degraded = operator.condition("Degraded")
    assert degraded["reason"] == "CannotStart"
    assert f"{operator.models}/late" in degraded["message"]
    assert operator.pipeline()["status"]["lastFailure"]["exitCode"] == 78

    operator.model("late")
    operator.wait()
    assert operator.condition("Degraded")["status"] == "False"


def test_a_claim_that_is_not_there_degrades_with_its_name(operator: Operator) -> None:
    operator.apply("pvc://weights/flux")

    eventually(lambda: operator.condition("Degraded").get("status") == "True", within_s=60)

    degraded = operator.condition("Degraded")
    assert degraded["reason"] == "Unschedulable"
    assert "weights" in degraded["message"]
    events = ("get", "events", "--field-selector=reason=Unschedulable")
    eventually(lambda: "flux" in operator.kubectl(*events), what="the event")


def test_a_redis_secret_that_is_not_there_degrades_with_its_name_and_serves_once_it_is(
    operator: Operator,
) -> None:
    operator.kill()
    operator.start(TRIDENTSERVE_REDIS_SECRET_NAME="redis-address")
    operator.apply(operator.model("a"))

    eventually(lambda: operator.condition("Degraded").get("status") == "True", within_s=60)
    degraded = operator.condition("Degraded")
    assert degraded["reason"] == "ContainerConfig"
    assert "redis-address" in degraded["message"]

    address = f"--from-literal=url={operator.cluster.redis_url}"
    operator.kubectl("create", "secret", "generic", "redis-address", address)
    operator.wait()


def test_a_profile_comes_from_its_config_map_and_one_that_is_wrong_is_told_meanwhile(
    operator: Operator,
) -> None:
    operator.apply(operator.model("a"), profile={"configMapRef": {"name": "own"}})
    operator.wait()
    degraded = operator.condition("Degraded")
    assert degraded["reason"] == "ProfileUnreadable"
    assert f"there is no ConfigMap {operator.namespace}/own" in degraded["message"]
    pods = operator.names("pods")

    operator.kubectl("create", "configmap", "own", "--from-literal=profile.json={}")
    eventually(lambda: "profile.json: format" in operator.condition("Degraded")["message"])
    file = operator.folder / "profile.json"
    file.write_text(profile_text(name="measured here"))
    operator.kubectl("delete", "configmap", "own")
    operator.kubectl("create", "configmap", "own", f"--from-file={file}")

    eventually(lambda: operator.condition("Degraded")["status"] == "False")
    eventually(lambda: "measured here" in operator.kubectl("logs", "deploy/flux-router"))
    assert "profile not understood" in operator.kubectl("logs", "deploy/flux-router")
    assert operator.names("pods") == pods


def test_what_somebody_deletes_or_edits_is_set_right(operator: Operator) -> None:
    operator.apply(operator.model("a"))
    operator.wait()
    names = operator.names("deployments")
    pool = next(name for name in names if "-encode-" in name)

    operator.kubectl("delete", "deployment", pool)
    eventually(lambda: operator.names("deployments") == names)
    operator.kubectl("scale", "deployment", pool, "--replicas=3")
    eventually(lambda: _replicas(operator, pool) == 1, within_s=60)
    operator.kubectl("set", "env", f"deployment/{pool}", "TRIDENTSERVE_FRACTION_PERCENT=7")
    eventually(lambda: _fraction(operator, pool) == "100")
    for kind in ("services", "serviceaccounts", "rolebindings"):
        there = operator.names(kind)
        operator.kubectl("delete", kind, *(name for name in there if name.startswith("flux-")))
        eventually(lambda: operator.names(kind) == there)  # noqa: B023  called at once


def test_what_belongs_to_somebody_else_is_left_alone_and_told(operator: Operator) -> None:
    operator.kubectl("create", "service", "clusterip", "flux-router", "--tcp=80:80")
    operator.apply(operator.model("a"))

    eventually(lambda: operator.condition("Degraded").get("status") == "True", within_s=60)
    degraded = operator.condition("Degraded")
    assert degraded["reason"] == "ApplyRefused"
    assert "belongs to somebody else" in degraded["message"]
    service = get(operator.cluster, operator.namespace, "service", "flux-router")
    assert service["spec"]["selector"] == {"app": "flux-router"}
    assert "ownerReferences" not in service["metadata"]

    operator.kubectl("delete", "service", "flux-router")
    eventually(lambda: operator.condition("Degraded")["status"] == "False", within_s=60)
    operator.wait()


def _replicas(operator: Operator, name: str) -> int:
    return int(get(operator.cluster, operator.namespace, "deployment", name)["spec"]["replicas"])


def _fraction(operator: Operator, name: str) -> str:
    body = get(operator.cluster, operator.namespace, "deployment", name)
    variables = body["spec"]["template"]["spec"]["containers"][0]["env"]
    found = {one["name"]: one.get("value", "") for one in variables}
    return str(found["TRIDENTSERVE_FRACTION_PERCENT"])


def test_a_pipeline_that_is_deleted_and_made_again_at_once_is_served(operator: Operator) -> None:
    uri = operator.model("a")
    operator.apply(uri)
    operator.wait()

    operator.kubectl("delete", "dp", "flux", "--wait=false")
    eventually(lambda: not operator.names("dp"))
    operator.apply(uri)
    operator.wait()

    uid = operator.pipeline()["metadata"]["uid"]
    deployments = get(operator.cluster, operator.namespace, "deployments")["items"]
    assert {one["metadata"]["ownerReferences"][0]["uid"] for one in deployments} == {uid}


def test_a_signal_ends_the_operator_and_leaves_the_workers(operator: Operator) -> None:
    operator.apply(operator.model("a"))
    operator.wait()

    assert operator.kill(signal.SIGTERM) == 0

    assert operator.condition("Ready")["status"] == "True"
    operator.kubectl("delete", "dp", "flux", "--timeout=30s")  # nobody is needed for that


def test_without_an_api_server_the_operator_ends_with_a_sentence(
    tmp_path: Path,
) -> None:
    kubeconfig = tmp_path / "nowhere"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "tridentserve_operator"],
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "TRIDENTSERVE_LOG_FORMAT": "text"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 78
    assert "the API server does not answer" in done.stderr.splitlines()[-1]
