"""Everything of a pipeline but its pools: the router, where it is found, and what it may do.

The router's template holds nothing of limits, SLO or planner: it watches its own DiffusionPipeline,
so that editing those restarts nothing.
"""

from tridentserve.domain.names import (
    LABEL_COMPONENT,
    LABEL_PIPELINE,
    PORT_GRPC,
    PORT_GRPC_NAME,
    PORT_METRICS,
    PORT_METRICS_NAME,
    bounded_name,
    router_name,
)
from tridentserve.manifest.base import Object
from tridentserve.manifest.v1alpha1 import DiffusionPipeline
from tridentserve_operator.render import template
from tridentserve_operator.render.labels import common_labels, hashed, metadata
from tridentserve_operator.settings import Settings
from tridentserve_operator.views import ROUTER

_RBAC = "rbac.authorization.k8s.io"
_COMMAND = "tridentserve-router"
_PROPAGATION_S = 3
"""What kube-proxies take to stop sending new connections to a pod that goes."""
_RESOURCES: Object = {"requests": {"cpu": "100m", "memory": "128Mi"}}


def url(pipeline: DiffusionPipeline) -> str:
    """Where applications in the cluster find the router: `host:port` of its Service."""
    name = router_name(pipeline.metadata.name)
    return f"{name}.{pipeline.metadata.namespace}.svc:{PORT_GRPC}"


def objects(pipeline: DiffusionPipeline, settings: Settings) -> tuple[Object, ...]:
    """The router and what it needs, in the order in which they are best created."""
    name = router_name(pipeline.metadata.name)
    labels = common_labels(pipeline, ROUTER)
    about = metadata(pipeline, name, labels)
    return tuple(
        hashed(body)
        for body in (
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": about,
                "automountServiceAccountToken": False,
            },
            _role_binding(pipeline, labels, name, settings),
            _service(pipeline, about),
            _deployment(pipeline, about, labels, settings),
        )
    )


def _selector(pipeline: DiffusionPipeline) -> dict[str, str]:
    return {LABEL_PIPELINE: pipeline.metadata.name, LABEL_COMPONENT: ROUTER}


def _role_binding(
    pipeline: DiffusionPipeline, labels: dict[str, str], name: str, settings: Settings
) -> Object:
    namespace = pipeline.metadata.namespace
    # A binding can never refer to another role. The chart installed under another name brings
    # another one, so the role is a part of the name: tests/chart/test_install.py.
    about = metadata(pipeline, bounded_name(f"{name}-{settings.router_cluster_role}"), labels)
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": about,
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": settings.router_cluster_role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }


def _service(pipeline: DiffusionPipeline, about: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": about,
        "spec": {
            "type": "ClusterIP",
            "selector": _selector(pipeline),
            "ports": [
                {
                    "name": PORT_GRPC_NAME,
                    "port": PORT_GRPC,
                    "targetPort": PORT_GRPC_NAME,
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
                {
                    "name": PORT_METRICS_NAME,
                    "port": PORT_METRICS,
                    "targetPort": PORT_METRICS_NAME,
                    "protocol": "TCP",
                },
            ],
        },
    }


def _deployment(
    pipeline: DiffusionPipeline, about: Object, labels: dict[str, str], settings: Settings
) -> Object:
    container = template.Container(
        name=ROUTER,
        image=settings.image,
        command=_COMMAND,
        env=template.common_env(pipeline, settings),
        resources=_RESOURCES,
        # Draining at once would refuse connections that a kube-proxy still sends here.
        lifecycle={"preStop": {"sleep": {"seconds": _PROPAGATION_S}}},
    )
    grace_s = pipeline.spec.drain_seconds + template.GRACE_MARGIN_S + _PROPAGATION_S
    spec = template.pod_spec(container, (), grace_s)
    spec["serviceAccountName"] = about["name"]
    spec["automountServiceAccountToken"] = True
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": _selector(pipeline)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
