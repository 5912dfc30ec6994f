"""The charts under a real Helm: linted, installed, upgraded, uninstalled, installed again."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tridentserve.manifest.base import GROUP, PLURAL
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import apply, eventually, get
from tridentserve_local.toolchain import tools
from tridentserve_local.toolchain.errors import ToolMissingError

CHARTS = Path(__file__).resolve().parents[2] / "deploy/helm"
DEFINITION = f"{PLURAL}.{GROUP}"

pytestmark = pytest.mark.helm


class Helm:
    """The real program, with a home of its own."""

    def __init__(self, home: Path, kubeconfig: Path | None = None) -> None:
        """Run it against a cluster, or without one."""
        self._tool = tools.helm()
        homes = {f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        self._environment = os.environ | homes | {"KUBECONFIG": str(kubeconfig or "none")}

    def __call__(self, *arguments: str) -> str:
        """What it prints; fails the test with it where it fails."""
        answer = subprocess.run(
            self._tool.argv(*arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert answer.returncode == 0, f"helm {' '.join(arguments)}\n{answer.stderr}"
        return answer.stdout


def available(home: Path, kubeconfig: Path | None = None) -> Helm:
    try:
        return Helm(home, kubeconfig)
    except ToolMissingError as error:
        pytest.skip(f"NO HELM: {error}")


@pytest.mark.parametrize("chart", ["tridentserve", "tridentserve-crds"])
def test_a_chart_passes_the_strict_lint(chart: str, tmp_path: Path) -> None:
    available(tmp_path)("lint", "--strict", "--quiet", str(CHARTS / chart))


@pytest.mark.parametrize("chart", ["tridentserve", "tridentserve-crds"])
def test_a_packaged_chart_renders_as_the_folder_does(chart: str, tmp_path: Path) -> None:
    helm = available(tmp_path)
    helm("package", str(CHARTS / chart), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")

    assert helm("template", "ts", str(package)) == helm("template", "ts", str(CHARTS / chart))


@pytest.fixture
def helm(local_cluster: LocalCluster, tmp_path: Path) -> Helm:
    """Helm against the local cluster."""
    return available(tmp_path, local_cluster.kubeconfig)


@pytest.fixture
def definitions(local_cluster: LocalCluster) -> Iterator[None]:
    """Gives the definitions back as they were found: other tests may have installed them."""
    before = local_cluster.kubectl("get", "crd", DEFINITION, "-oname", check=False)
    yield
    if not before:
        local_cluster.kubectl("delete", "crd", DEFINITION, "--ignore-not-found")
        return
    releases = ("meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-")
    local_cluster.kubectl("annotate", "crd", DEFINITION, *releases)
    local_cluster.kubectl("label", "crd", DEFINITION, "app.kubernetes.io/managed-by-")


def owned(cluster: LocalCluster, release: str) -> list[str]:
    """Everything that a release has made."""
    kinds = "clusterroles,clusterrolebindings,rolebindings,serviceaccounts,deployments,services"
    selector = f"app.kubernetes.io/instance={release}"
    return cluster.kubectl("get", kinds, "-A", "-l", selector, "-oname").split()


def kept_role(release: str) -> str:
    """By which routers that serve on read pods."""
    return f"clusterrole.rbac.authorization.k8s.io/{release}-tridentserve-router"


def operator_environment(cluster: LocalCluster, namespace: str, name: str) -> dict[str, str]:
    deployment = get(cluster, namespace, "deployment", name)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def pipeline(name: str, *, suspend: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"name": name},
        "spec": {"model": {"uri": "pvc://models/none"}, "suspend": suspend},
    }


@pytest.mark.cluster
@pytest.mark.usefixtures("definitions")
def test_it_is_installed_upgraded_uninstalled_and_installed_under_another_name(
    helm: Helm, local_cluster: LocalCluster, namespace: str
) -> None:
    first, second = f"first-{namespace}", f"second-{namespace}"
    where = ("--namespace", namespace)
    chart = (str(CHARTS / "tridentserve"), *where, "--set", f"watchNamespaces={{{namespace}}}")
    waiting = ("--wait", "--timeout", "120s")

    helm("install", f"{first}-crds", str(CHARTS / "tridentserve-crds"), *where, "--take-ownership")
    helm("install", first, *chart, *waiting)
    apply(local_cluster, pipeline("kept"), namespace=namespace)

    helm("upgrade", first, *chart, *waiting, "--set", "log.format=text")
    name = f"{first}-tridentserve"
    environment = operator_environment(local_cluster, namespace, name)
    assert environment["TRIDENTSERVE_LOG_FORMAT"] == "text"
    assert json.loads(helm("history", first, *where, "-o", "json"))[-1]["revision"] == 2

    helm("uninstall", first, *where, "--wait")
    helm("uninstall", f"{first}-crds", *where)
    assert owned(local_cluster, first) == [kept_role(first)]
    assert get(local_cluster, namespace, "dp", "kept")["spec"]["suspend"]

    helm("install", f"{second}-crds", str(CHARTS / "tridentserve-crds"), *where, "--take-ownership")
    helm("install", second, *chart, *waiting)
    assert get(local_cluster, namespace, "dp", "kept")["spec"]["suspend"]
    role = f"{second}-tridentserve-router"
    eventually(
        lambda: role in router_roles(local_cluster, namespace, "kept"),
        what="the router bound to the role of the new release",
    )

    helm("uninstall", second, *where, "--wait")
    helm("uninstall", f"{second}-crds", *where)
    assert owned(local_cluster, second) == [kept_role(second)]
    local_cluster.kubectl("delete", kept_role(first), kept_role(second))


@pytest.mark.cluster
@pytest.mark.usefixtures("definitions")
def test_the_rights_are_enough_from_the_first_look_to_the_last(
    helm: Helm, local_cluster: LocalCluster, namespace: str
) -> None:
    release = f"enough-{namespace}"
    where = ("--namespace", namespace)
    watched = ("--set", f"watchNamespaces={{{namespace}}}")
    helm(
        "install", f"{release}-crds", str(CHARTS / "tridentserve-crds"), *where, "--take-ownership"
    )
    helm("install", release, str(CHARTS / "tridentserve"), *where, *watched, "--wait")

    def stages() -> set[str]:
        found = get(local_cluster, namespace, "deployments")["items"]
        labels = (body["metadata"]["labels"] for body in found)
        return {each["app.kubernetes.io/component"] for each in labels}

    apply(local_cluster, pipeline("job", suspend=False), namespace=namespace)
    try:
        eventually(lambda: stages() >= {"router", "encode", "diffuse", "decode"}, what="every part")
        eventually(
            lambda: get(local_cluster, namespace, "dp", "job").get("status", {}).get("conditions"),
            what="the status",
        )
        eventually(lambda: notes_about(local_cluster, namespace, "job"), what="an event")
        # Pods wait for a claim that is not there, so workers go without having run.
        apply(local_cluster, pipeline("job", suspend=True), namespace=namespace)
        eventually(lambda: not stages() & {"encode", "diffuse", "decode"}, what="no workers")
        local_cluster.kubectl("-n", namespace, "delete", "dp", "job", "--wait")
        eventually(lambda: stages() == {"operator"}, what="nothing left")
        log = local_cluster.kubectl("-n", namespace, "logs", f"deploy/{release}-tridentserve")
        assert "forbidden" not in log.lower()
    finally:
        helm("uninstall", release, *where, "--wait")
        helm("uninstall", f"{release}-crds", *where)


def notes_about(cluster: LocalCluster, namespace: str, name: str) -> list[str]:
    """Notes of the events about a pipeline."""
    events = get(cluster, namespace, "events.events.k8s.io")["items"]
    return [event["note"] for event in events if event["regarding"]["name"] == name]


def router_roles(cluster: LocalCluster, namespace: str, name: str) -> list[str]:
    """ClusterRoles that a pipeline's router is bound to."""
    return [
        binding["roleRef"]["name"]
        for binding in get(cluster, namespace, "rolebindings")["items"]
        for subject in binding.get("subjects", [])
        if subject["name"] == f"{name}-router"
    ]


@pytest.mark.cluster
@pytest.mark.usefixtures("definitions")
def test_the_api_server_grants_the_operator_what_it_needs_where_it_needs_it(
    helm: Helm, local_cluster: LocalCluster, namespace: str
) -> None:
    release = f"rights-{namespace}"
    values = ("--set", f"watchNamespaces={{{namespace}}}")
    where = ("--namespace", namespace)
    helm(
        "install", f"{release}-crds", str(CHARTS / "tridentserve-crds"), *where, "--take-ownership"
    )
    # kubectl remembers what there is, and would remember that there is no pipeline yet.
    known = ("api-resources", "--api-group", GROUP, "-oname")
    eventually(lambda: PLURAL in local_cluster.kubectl(*known, check=False), what="the definition")
    helm("install", release, str(CHARTS / "tridentserve"), *where, *values)
    account = f"--as=system:serviceaccount:{namespace}:{release}-tridentserve"

    def may(verb: str, what: str, part: str = "", where: str = namespace) -> bool:
        question = ("auth", "can-i", verb, what, f"--subresource={part}", "-n", where)
        answer = local_cluster.kubectl(*question, account, check=False)
        return answer.strip() == "yes"

    def may_bind(role: str) -> bool:
        arguments = ("create", "rolebinding", f"to-{role}", f"--clusterrole={role}")
        subject = "--serviceaccount=default:default"
        made = local_cluster.kubectl(
            *arguments, subject, "-n", namespace, account, "-oname", check=False
        )
        return bool(made)

    try:
        assert may("patch", "deployments.apps")
        assert may("patch", f"{PLURAL}.{GROUP}", "status")
        assert not may("patch", f"{PLURAL}.{GROUP}")
        assert not may("get", "secrets")
        assert not may("create", "pods", "exec")
        assert not may("patch", "deployments.apps", where="default")
        assert may_bind(f"{release}-tridentserve-router")
        assert not may_bind("cluster-admin")
    finally:
        helm("uninstall", release, *where, "--wait")
        helm("uninstall", f"{release}-crds", *where)
