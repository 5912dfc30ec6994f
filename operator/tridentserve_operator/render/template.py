"""What the pods of workers and routers have in common: a pod that restricted namespaces admit.

A container writes to one place only, an emptyDir that TMPDIR and HOME name, and finds every
mounted path in a variable: on the local cluster paths are rewritten, and a fixed one would be
somebody else's folder.
"""

from dataclasses import dataclass, field

from tridentserve.domain.names import (
    ENV_DRAIN_SECONDS,
    ENV_LOG_FORMAT,
    ENV_NODE_NAME,
    ENV_PIPELINE,
    ENV_POD_IP,
    ENV_POD_NAME,
    ENV_POD_NAMESPACE,
    ENV_POD_UID,
    LABEL_PIPELINE,
    PORT_GRPC,
    PORT_GRPC_NAME,
    PORT_METRICS,
    PORT_METRICS_NAME,
)
from tridentserve.manifest.base import Object
from tridentserve.manifest.v1alpha1 import DiffusionPipeline
from tridentserve.manifest.volumes import OPERATORS_FOLDER
from tridentserve_operator.settings import Settings

TMP_VOLUME = "tridentserve-tmp"
MOUNTS = OPERATORS_FOLDER
"""Not /tmp and the like: file:// models may lie below those, and the local cluster takes every path
below a mount for one in that volume."""
TMP_PATH = f"{MOUNTS}/tmp"
_USER = 65532
"""`nonroot` of the usual base images; any other one would do."""
GRACE_MARGIN_S = 15
"""What a pod gets beyond its drain time to close stores and end, before it is killed."""
_LOAD_LIMIT_S = 3600
"""Weights may take long to load; longer means that something hangs."""
_STARTUP_PERIOD_S = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What differs between the containers of workers and routers."""

    name: str
    image: str
    command: str
    env: tuple[Object, ...]
    resources: Object
    mounts: tuple[Object, ...] = ()
    lifecycle: Object = field(default_factory=dict)


def pod_spec(container: Container, volumes: tuple[Object, ...], grace_s: int) -> Object:
    """The pod: restricted, one container, its temporary folder."""
    return {
        # Variables of the namespace's Services: one named tridentserve-metrics would set a port.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(container)],
        "volumes": [{"name": TMP_VOLUME, "emptyDir": {}}, *volumes],
    }


def _container(container: Container) -> Object:
    body: Object = {
        "name": container.name,
        "image": container.image,
        "command": [container.command],
        "env": list(container.env),
        "ports": [
            {"name": PORT_GRPC_NAME, "containerPort": PORT_GRPC, "protocol": "TCP"},
            {"name": PORT_METRICS_NAME, "containerPort": PORT_METRICS, "protocol": "TCP"},
        ],
        "resources": container.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/readyz", _STARTUP_PERIOD_S, _LOAD_LIMIT_S // _STARTUP_PERIOD_S),
        "readinessProbe": _probe("/readyz", 2, 2),
        "livenessProbe": _probe("/healthz", 10, 3),
        # The last line on standard error tells why a process ended; the operator quotes it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": TMP_VOLUME, "mountPath": TMP_PATH}, *container.mounts],
    }
    if container.lifecycle:
        body["lifecycle"] = container.lifecycle
    return body


def _probe(path: str, period_s: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": PORT_METRICS_NAME},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def common_env(pipeline: DiffusionPipeline, settings: Settings) -> tuple[Object, ...]:
    """Variables of every pod: who it is, whom it serves, where it may write."""
    fields = {
        ENV_POD_NAME: "metadata.name",
        ENV_POD_NAMESPACE: "metadata.namespace",
        ENV_POD_UID: "metadata.uid",
        ENV_POD_IP: "status.podIP",
        ENV_NODE_NAME: "spec.nodeName",
    }
    values = {
        ENV_PIPELINE: pipeline.name,
        ENV_DRAIN_SECONDS: str(pipeline.spec.drain_seconds),
        ENV_LOG_FORMAT: settings.log_format,
        "TMPDIR": TMP_PATH,
        "HOME": TMP_PATH,
    }
    return (
        *(
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in fields.items()
        ),
        *variables(values),
    )


def variables(values: dict[str, str]) -> tuple[Object, ...]:
    """Plain environment variables."""
    return tuple({"name": name, "value": value} for name, value in values.items())


def spread(pipeline: DiffusionPipeline, labels: dict[str, str]) -> Object:
    """Spread pods over nodes where that is possible, and start them where it is not."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {
            "matchLabels": {LABEL_PIPELINE: pipeline.metadata.name, **labels},
        },
    }
