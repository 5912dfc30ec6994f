"""Names that several parts must agree on: labels, annotations, ports, variables, object names."""

import hashlib
import re

LABEL_PIPELINE = "tridentserve.io/pipeline"
LABEL_POOL = "tridentserve.io/pool"
LABEL_STAGES = "tridentserve.io/stages"
LABEL_REVISION = "tridentserve.io/revision"
LABEL_FRACTION = "tridentserve.io/fraction-percent"
LABEL_DRAINING = "tridentserve.io/draining"

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"

PART_OF = "tridentserve"
MANAGED_BY = "tridentserve-operator"

ANNOTATION_RENDERED_HASH = "tridentserve.io/rendered-hash"
ANNOTATION_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

PORT_GRPC = 8500
PORT_GRPC_NAME = "grpc"
PORT_METRICS = 9400
PORT_METRICS_NAME = "metrics"

ENV_POD_NAME = "POD_NAME"
ENV_POD_NAMESPACE = "POD_NAMESPACE"
ENV_POD_UID = "POD_UID"
ENV_POD_IP = "POD_IP"
ENV_NODE_NAME = "NODE_NAME"
ENV_PREFIX = "TRIDENTSERVE_"
ENV_MODEL_DIR = "TRIDENTSERVE_MODEL_DIR"
"""Where the model folder is mounted."""
ENV_STAGES = "TRIDENTSERVE_STAGES"
ENV_PIPELINE = "TRIDENTSERVE_PIPELINE"
ENV_POOL = "TRIDENTSERVE_POOL"
ENV_REVISION = "TRIDENTSERVE_REVISION"
ENV_FRACTION_PERCENT = "TRIDENTSERVE_FRACTION_PERCENT"
ENV_THREADS = "TRIDENTSERVE_THREADS"
ENV_VISIBLE_DEVICES = "NVIDIA_VISIBLE_DEVICES"
ENV_GPU_COUNT = "TRIDENTSERVE_GPU_COUNT"
ENV_CPU_UNIT = "TRIDENTSERVE_CPU_UNIT"
ENV_DTYPE = "TRIDENTSERVE_DTYPE"
ENV_DRAIN_SECONDS = "TRIDENTSERVE_DRAIN_SECONDS"
ENV_REDIS_URL = "TRIDENTSERVE_REDIS_URL"
ENV_SHM_DIR = "TRIDENTSERVE_SHM_DIR"
ENV_MAX_BATCH = "TRIDENTSERVE_BATCH_MAX_SIZE"
ENV_MAX_WAIT_MS = "TRIDENTSERVE_BATCH_MAX_WAIT_MILLISECONDS"
ENV_LOG_FORMAT = "TRIDENTSERVE_LOG_FORMAT"
"""`json` in pods, `text` for people."""
ENV_GRPC_PORT = "TRIDENTSERVE_GRPC_PORT"
"""Only for processes that share one address (run by hand, tests); pods use `PORT_GRPC`."""
ENV_METRICS_PORT = "TRIDENTSERVE_METRICS_PORT"
"""Likewise; pods use `PORT_METRICS`."""
ENV_STALL_SECONDS = "TRIDENTSERVE_STALL_SECONDS"
"""How long a call may make no step before a worker's liveness fails."""
ENV_TENSOR_TTL_SECONDS = "TRIDENTSERVE_TENSOR_TTL_SECONDS"
"""How long a store keeps a tensor that nobody released, where a Run does not say."""

_NAME_LIMIT = 63
_HASH_CHARACTERS = 8


def bounded_name(name: str, limit: int = _NAME_LIMIT) -> str:
    """A valid DNS label that starts like `name`; a longer one is cut and ends in a hash of it.

    It starts with a letter (RFC 1035), which Services must before Kubernetes 1.36.

    >>> bounded_name("flux-encode-100-a1b2c3")
    'flux-encode-100-a1b2c3'
    >>> bounded_name("x" * 80) == "x" * 54 + "-" + hashlib.sha256(b"x" * 80).hexdigest()[:8]
    True
    """
    valid = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if valid[:1].isdigit():
        valid = f"x{valid}"
    if name and len(valid) <= limit and valid == name:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARACTERS]
    head = valid[: limit - _HASH_CHARACTERS - 1].rstrip("-")
    return f"{head}-{digest}" if head else f"x{digest}"


def pool_name(pipeline: str, stages_label: str, fraction_percent: int, revision: str) -> str:
    """Name of a pool's Deployment.

    Pods add up to 17 characters, and their names are cut by the API server rather than refused,
    so 46 are left for ours: two pools must not differ in what is cut.

    >>> pool_name("flux", "decode.encode", 25, "a1b2c3")
    'flux-decode-encode-25-a1b2c3'
    """
    words = stages_label.replace(".", "-")
    return bounded_name(f"{pipeline}-{words}-{fraction_percent}-{revision}", 46)


def router_name(pipeline: str) -> str:
    """Name of a pipeline's router: Deployment, Service, ServiceAccount.

    >>> router_name("flux")
    'flux-router'
    """
    return bounded_name(f"{pipeline}-router", 46)
