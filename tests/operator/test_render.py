"""What is rendered: properties that pods must have, whatever else changes."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tridentserve.domain.names import LABEL_FRACTION, LABEL_POOL, LABEL_REVISION
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.stages import Stage
from tridentserve.manifest.v1alpha1 import DiffusionPipeline, parse
from tridentserve.planner.pools import PoolKey
from tridentserve_operator.render import router, worker
from tridentserve_operator.render.labels import hashed, rendered_hash
from tridentserve_operator.settings import Settings
from tridentserve_operator.testing import pipeline_body

SETTINGS = Settings(image="img:1", redis_url="redis://r:6379/0")
SHM = Settings(image="img:1", shm_host_path="/dev/shm/ts", shm_namespaces=frozenset({"default"}))


def pipeline(**spec: Any) -> DiffusionPipeline:
    return parse(pipeline_body(**spec))


def pool(
    flux: DiffusionPipeline,
    stage: Stage = Stage.DIFFUSE,
    fraction: int = 100,
    settings: Settings = SETTINGS,
    devices: int = 0,
) -> Any:
    shape = PoolShape(stages=(stage,), devices=devices, fraction_percent=fraction)
    key = PoolKey(shape=shape, revision=worker.revision(flux, settings))
    return worker.deployment(flux, worker.identity(flux, key), settings)


def every_deployment(flux: DiffusionPipeline, settings: Settings = SETTINGS) -> list[Any]:
    routers = [one for one in router.objects(flux, settings) if one["kind"] == "Deployment"]
    return [*routers, *(pool(flux, stage, settings=settings) for stage in Stage)]


def pod(deployment: Any) -> Any:
    return deployment["spec"]["template"]["spec"]


def container(deployment: Any) -> Any:
    return pod(deployment)["containers"][0]


def env(deployment: Any) -> dict[str, Any]:
    variables = container(deployment)["env"]
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names)), "the API server refuses a variable that comes twice"
    return {variable["name"]: variable.get("value") for variable in variables}


def mounts(deployment: Any) -> dict[str, Any]:
    return {mount["name"]: mount for mount in container(deployment)["volumeMounts"]}


def volumes(deployment: Any) -> dict[str, Any]:
    return {volume["name"]: volume for volume in pod(deployment)["volumes"]}


@pytest.mark.parametrize("index", range(4))
def test_every_pod_satisfies_restricted_pod_security(index: int) -> None:
    deployment = every_deployment(pipeline())[index]

    assert pod(deployment)["securityContext"]["runAsNonRoot"] is True
    assert pod(deployment)["enableServiceLinks"] is False
    assert pod(deployment)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(deployment)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not [one for one in pod(deployment)["volumes"] if "hostPath" in one]


@pytest.mark.parametrize("index", range(4))
def test_every_pod_can_write_to_its_temporary_folder_and_finds_it_by_a_variable(
    index: int,
) -> None:
    deployment = every_deployment(pipeline())[index]

    assert volumes(deployment)["tridentserve-tmp"] == {"name": "tridentserve-tmp", "emptyDir": {}}
    path = mounts(deployment)["tridentserve-tmp"]["mountPath"]
    assert env(deployment)["TMPDIR"] == env(deployment)["HOME"] == path
    assert path != "/tmp"


@pytest.mark.parametrize("index", range(4))
def test_every_pod_has_probes_and_says_why_it_ended(index: int) -> None:
    body = container(every_deployment(pipeline())[index])

    assert body["startupProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert body["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert body["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert body["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert {port["name"]: port["containerPort"] for port in body["ports"]} == {
        "grpc": 8500,
        "metrics": 9400,
    }


@pytest.mark.parametrize("index", range(4))
def test_a_pod_is_given_more_time_than_it_drains(index: int) -> None:
    deployment = every_deployment(pipeline(drainSeconds=33))[index]

    assert env(deployment)["TRIDENTSERVE_DRAIN_SECONDS"] == "33"
    assert pod(deployment)["terminationGracePeriodSeconds"] > 33


def test_workers_get_no_token_and_routers_their_own_account() -> None:
    flux = pipeline()

    assert pod(pool(flux))["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod(pool(flux))
    routers = every_deployment(flux)[0]
    assert pod(routers)["serviceAccountName"] == "flux-router"
    assert "TRIDENTSERVE_REDIS_URL" not in env(routers)


def test_the_address_of_a_redis_secret_stands_in_no_object() -> None:
    settings = replace(SETTINGS, redis_url="redis://:hunter2@r", redis_secret_name="redis")
    flux = pipeline()

    rendered = (*router.objects(flux, settings), *every_deployment(flux, settings))

    assert "hunter2" not in json.dumps(rendered)
    reference = {"secretKeyRef": {"name": "redis", "key": "url"}}
    for stage in Stage:
        named = {"name": "TRIDENTSERVE_REDIS_URL", "valueFrom": reference}
        assert named in container(pool(flux, stage, settings=settings))["env"]


def test_the_router_is_bound_to_the_role_of_the_settings_and_to_no_other() -> None:
    settings = Settings(router_cluster_role="mine")
    kinds = {one["kind"]: one for one in router.objects(pipeline(), settings)}

    assert list(kinds) == ["ServiceAccount", "RoleBinding", "Service", "Deployment"]
    assert kinds["RoleBinding"]["roleRef"]["name"] == "mine"
    assert kinds["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "flux-router", "namespace": "default"}
    ]


def test_everything_is_owned_by_the_pipeline_without_blocking_its_deletion() -> None:
    flux = pipeline()

    for body in (*router.objects(flux, SETTINGS), pool(flux)):
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == (
            "DiffusionPipeline",
            "uid-1",
            True,
        )
        assert "blockOwnerDeletion" not in owner


def test_services_select_the_router_and_pools_only_their_own_pods() -> None:
    flux = pipeline()
    kinds = {one["kind"]: one for one in router.objects(flux, SETTINGS)}
    router_labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    worker_labels = pool(flux)["spec"]["template"]["metadata"]["labels"].items()

    assert kinds["Service"]["spec"]["selector"].items() <= router_labels
    assert not kinds["Service"]["spec"]["selector"].items() <= worker_labels
    other = pool(flux, fraction=50)["spec"]["template"]["metadata"]["labels"].items()
    assert pool(flux)["spec"]["selector"]["matchLabels"].items() <= worker_labels
    assert not pool(flux)["spec"]["selector"]["matchLabels"].items() <= other


@pytest.mark.parametrize(
    ("stage", "command"),
    [
        (Stage.ENCODE, "tridentserve-encoder"),
        (Stage.DIFFUSE, "tridentserve-diffuser"),
        (Stage.DECODE, "tridentserve-decoder"),
    ],
)
def test_each_stage_names_its_command(stage: Stage, command: str) -> None:
    deployment = pool(pipeline(), stage)

    assert container(deployment)["command"] == [command]
    assert env(deployment)["TRIDENTSERVE_STAGES"] == stage


@pytest.mark.parametrize(
    ("unit", "fraction", "cpu", "threads"),
    [
        (1000, 100, "1000m", "1"),
        (1000, 25, "250m", "1"),
        (4000, 50, "2000m", "2"),
        (4000, 25, "1000m", "1"),
        (2500, 100, "2500m", "2"),
        (10, 1, "1m", "1"),
    ],
)
def test_a_fraction_without_gpu_is_a_share_of_cores_and_threads(
    unit: int, fraction: int, cpu: str, threads: str
) -> None:
    settings = Settings(cpu_unit_millicores=unit)
    deployment = pool(pipeline(), fraction=fraction, settings=settings)

    assert container(deployment)["resources"] == {"requests": {"cpu": cpu}}
    assert env(deployment)["TRIDENTSERVE_THREADS"] == threads
    assert env(deployment)["TRIDENTSERVE_FRACTION_PERCENT"] == str(fraction)
    assert env(deployment)["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_an_exclusive_gpu_is_a_limit_and_leaves_threads_to_the_library() -> None:
    stages = {"diffuse": {"gpu": {"sharing": "Exclusive", "count": 4}}}
    deployment = pool(pipeline(stages=stages), devices=4)

    assert container(deployment)["resources"] == {"limits": {"nvidia.com/gpu": "4"}}
    assert not {"TRIDENTSERVE_THREADS", "NVIDIA_VISIBLE_DEVICES"} & env(deployment).keys()
    assert env(deployment)["TRIDENTSERVE_GPU_COUNT"] == "4"


def test_a_claim_is_mounted_whole_and_read_only() -> None:
    deployment = pool(pipeline(model={"uri": "pvc://models/flux/dev"}))

    claim = volumes(deployment)["tridentserve-model"]["persistentVolumeClaim"]
    assert claim == {"claimName": "models", "readOnly": True}
    mount = mounts(deployment)["tridentserve-model"]
    assert mount["readOnly"] is True
    assert "subPath" not in mount
    assert env(deployment)["TRIDENTSERVE_MODEL_DIR"] == mount["mountPath"] + "/flux/dev"


def test_the_root_of_a_claim_is_the_mount_itself() -> None:
    deployment = pool(pipeline(model={"uri": "pvc://models"}))

    path = mounts(deployment)["tridentserve-model"]["mountPath"]
    assert env(deployment)["TRIDENTSERVE_MODEL_DIR"] == path


def test_a_file_model_brings_no_volume() -> None:
    deployment = pool(pipeline(model={"uri": "file:///srv/flux"}))

    assert list(volumes(deployment)) == ["tridentserve-tmp"]
    assert env(deployment)["TRIDENTSERVE_MODEL_DIR"] == "/srv/flux"


def test_shared_memory_comes_only_in_the_namespaces_that_are_listed() -> None:
    here = pool(pipeline(), settings=SHM)
    assert volumes(here)["tridentserve-shm"]["hostPath"]["path"] == "/dev/shm/ts"
    assert env(here)["TRIDENTSERVE_SHM_DIR"] == mounts(here)["tridentserve-shm"]["mountPath"]

    elsewhere = pool(parse(pipeline_body(namespace="other")), settings=SHM)
    assert "tridentserve-shm" not in volumes(elsewhere)
    assert "TRIDENTSERVE_SHM_DIR" not in env(elsewhere)
    routers = every_deployment(pipeline(), SHM)[0]
    assert "tridentserve-shm" not in volumes(routers)


def test_a_template_is_laid_over_and_ours_stays() -> None:
    template = {
        "image": "mine:2",
        "resources": {"requests": {"memory": "8Gi"}, "limits": {"memory": "16Gi"}},
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
                    ]
                }
            }
        },
        "env": [{"name": "HOME", "value": "/data"}, {"name": "EXTRA", "value": "1"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    deployment = pool(pipeline(stages={"diffuse": {"template": template}}))

    assert container(deployment)["image"] == "mine:2"
    assert container(deployment)["resources"] == {
        "requests": {"memory": "8Gi", "cpu": "1000m"},
        "limits": {"memory": "16Gi"},
    }
    assert pod(deployment)["nodeSelector"] == {"zone": "a"}
    assert pod(deployment)["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert "nodeAffinity" in pod(deployment)["affinity"]
    assert env(deployment)["HOME"] == "/data"
    assert env(deployment)["EXTRA"] == "1"
    assert env(deployment)["TRIDENTSERVE_STAGES"] == "diffuse"
    assert mounts(deployment)["data"]["mountPath"] == "/data"
    assert set(volumes(deployment)) == {"data", "tridentserve-tmp", "tridentserve-model"}
    assert container(pool(pipeline(), Stage.ENCODE))["image"] == "img:1"


def test_workers_spread_softly() -> None:
    (spread,) = pod(pool(pipeline()))["topologySpreadConstraints"]

    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


# --- revision and hash ----------------------------------------------------------------------------


def test_the_revision_is_the_same_every_time_and_six_characters() -> None:
    revision = worker.revision(pipeline(), SETTINGS)

    assert revision == worker.revision(parse(json.loads(json.dumps(pipeline_body()))), SETTINGS)
    assert len(revision) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"uri": "pvc://models/other"}},
        {"model": {"uri": "pvc://models/flux", "dtype": "float32"}},
        {"drainSeconds": 7},
        {"stages": {"encode": {"template": {"image": "other"}}}},
        {"stages": {"decode": {"batching": {"maxSize": 4}}}},
        {"stages": {"decode": {"gpu": {"sharing": "Exclusive", "count": 1}}}},
        {"stages": {"decode": {"template": {"env": [{"name": "A", "value": "b"}]}}}},
    ],
)
def test_what_changes_a_pod_is_a_new_revision(change: dict[str, Any]) -> None:
    assert worker.revision(pipeline(), SETTINGS) != worker.revision(pipeline(**change), SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"maxPixels": 4096}},
        {"slo": {"scalePercent": 300}},
        {"planner": {"placement": "Static", "dispatch": "Fifo"}},
        {"router": {"maxQueue": 3}},
        {"suspend": True},
        {"autoscaling": {"gpuLimitPercent": 400}},
        {"stages": {"diffuse": {"replicas": {"min": 2, "max": 9}}}},
        {"stages": {"diffuse": {"gpu": {"fractionsPercent": [25, 50]}}}},
    ],
)
def test_what_changes_no_pod_is_no_new_revision_and_no_new_router(change: dict[str, Any]) -> None:
    before, after = pipeline(), pipeline(**change)

    assert worker.revision(before, SETTINGS) == worker.revision(after, SETTINGS)
    assert router.objects(before, SETTINGS) == router.objects(after, SETTINGS)


def test_another_cpu_unit_is_a_new_revision() -> None:
    other = Settings(image="img:1", redis_url="redis://r:6379/0", cpu_unit_millicores=2000)

    assert worker.revision(pipeline(), SETTINGS) != worker.revision(pipeline(), other)


def test_pools_of_two_fractions_differ_in_name_labels_and_nothing_shared() -> None:
    flux = pipeline()
    whole, half = pool(flux, fraction=100), pool(flux, fraction=50)
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in (whole, half)]

    assert whole["metadata"]["name"] != half["metadata"]["name"]
    assert labels[0][LABEL_REVISION] == labels[1][LABEL_REVISION]
    assert (labels[0][LABEL_FRACTION], labels[1][LABEL_FRACTION]) == ("100", "50")
    assert labels[0][LABEL_POOL] == whole["metadata"]["name"]


def test_the_hash_tells_whether_anything_differs() -> None:
    flux = pipeline()
    bodies = [*router.objects(flux, SETTINGS), pool(flux)]

    assert len({rendered_hash(body) for body in bodies}) == len(bodies)
    reordered = json.loads(json.dumps({"b": 1, "a": 2, "metadata": {}}))
    assert rendered_hash(hashed(reordered)) == rendered_hash(
        hashed({"metadata": {}, "a": 2, "b": 1})
    )


def test_a_long_name_gives_valid_names_everywhere() -> None:
    flux = parse(pipeline_body(name="a." + "x" * 60))
    bodies = [*router.objects(flux, SETTINGS), pool(flux)]

    for body in bodies:
        assert len(body["metadata"]["name"]) <= (63 if body["kind"] == "RoleBinding" else 46)
        assert "." not in body["metadata"]["name"]
        assert all(len(value) <= 63 for value in body["metadata"]["labels"].values())
