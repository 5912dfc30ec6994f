"""What the operator puts into a worker's pod is exactly what templates are refused to set."""

from typing import Any

import pytest

from tridentserve.domain.ids import PoolName, Revision
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.stages import Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.v1alpha1 import DiffusionPipeline, parse
from tridentserve.manifest.volumes import OPERATORS_FOLDER
from tridentserve_operator.render import worker
from tridentserve_operator.settings import Settings
from tridentserve_operator.views import PoolIdentity

OVERRIDABLE = {"TMPDIR", "HOME", "HF_HUB_OFFLINE", "NVIDIA_VISIBLE_DEVICES"}
"""Variables that the operator sets and a template may set otherwise."""


def pipeline(template: dict[str, Any]) -> DiffusionPipeline:
    return parse(
        {
            "apiVersion": "tridentserve.io/v1alpha1",
            "kind": "DiffusionPipeline",
            "metadata": {"name": "flux", "namespace": "demo", "uid": "u"},
            "spec": {
                "model": {"uri": "pvc://models/flux"},
                "stages": {"encode": {"template": template}},
            },
        }
    )


def pod(template: dict[str, Any]) -> dict[str, Any]:
    """A worker's pod with everything that settings can add to it."""
    settings = Settings(
        redis_url="redis://redis",
        shm_host_path="/dev/shm/x",
        shm_namespaces=frozenset({"demo"}),
    )
    pool = PoolIdentity(
        name=PoolName("flux-encode-100-a1b2c3"),
        shape=PoolShape(stages=(Stage.ENCODE,), devices=0, fraction_percent=100),
        revision=Revision("a1b2c3"),
    )
    body = worker.deployment(pipeline(template), pool, settings)
    spec: dict[str, Any] = body["spec"]["template"]["spec"]
    return spec


def test_paths_that_the_operator_mounts_are_those_that_are_refused() -> None:
    (container,) = pod({})["containers"]

    paths = [mount["mountPath"] for mount in container["volumeMounts"]]

    assert len(paths) == 3
    assert all(path.startswith(f"{OPERATORS_FOLDER}/") for path in paths)


def test_volumes_of_the_operator_have_names_that_are_refused() -> None:
    names = [volume["name"] for volume in pod({})["volumes"]]

    for name in names:
        with pytest.raises(InvalidFieldError, match="tridentserve-"):
            pipeline({"volumes": [{"name": name, "emptyDir": {}}]})


def test_variables_of_the_operator_are_refused_but_for_a_few() -> None:
    (container,) = pod({})["containers"]

    allowed = set()
    for entry in container["env"]:
        try:
            pipeline({"env": [{"name": entry["name"], "value": "x"}]})
        except InvalidFieldError:
            continue
        allowed.add(entry["name"])

    assert allowed == OVERRIDABLE


def test_everything_in_a_template_reaches_the_pod() -> None:
    template = {
        "image": "registry.example/encoder:2",
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {
            "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]
            }
        },
        "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "env": [{"name": "EXTRA", "value": "1"}, {"name": "HOME", "value": "/home"}],
        "volumes": [{"name": "own", "emptyDir": {"medium": "Memory"}}],
        "volumeMounts": [{"name": "own", "mountPath": "/own", "readOnly": True}],
    }

    spec = pod(template)

    (container,) = spec["containers"]
    assert container["image"] == template["image"]
    assert spec["nodeSelector"] == template["nodeSelector"]
    assert spec["tolerations"] == template["tolerations"]
    assert spec["affinity"] == template["affinity"]
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert container["resources"]["requests"].items() >= {"memory": "1Gi"}.items()
    assert {"name": "EXTRA", "value": "1"} in container["env"]
    assert [entry for entry in container["env"] if entry["name"] == "HOME"] == [
        {"name": "HOME", "value": "/home"}
    ]
    assert template["volumes"][0] in spec["volumes"]  # type: ignore[index]
    assert template["volumeMounts"][0] in container["volumeMounts"]  # type: ignore[index]
