"""What the node understands of a pod: frozen values.

Only what a node without images, cgroups or mounts can act on. What it cannot do (a CSI volume, say)
has a value too that says so: refusing it is the business of whoever would have to act on it, with a
message that reaches `kubectl describe`. `parsing` makes these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ObjectKind = Literal["ConfigMap", "Secret"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """A config map or a secret of the pod's namespace."""

    kind: ObjectKind
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRef:
    """A field of the pod, such as `status.podIP` or `metadata.labels['app']`."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRef:
    """A request or limit, such as `limits.cpu`; `container` "" is the one that asks."""

    container: str
    resource: str
    divisor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRef:
    """One key of a config map or secret."""

    object: ObjectRef
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """One entry of `env`."""

    name: str
    value: str | FieldRef | ResourceRef | KeyRef


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFrom:
    """One entry of `envFrom`."""

    object: ObjectRef
    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Where a container wants a volume."""

    volume: str
    path: str
    sub_path: str = ""
    sub_path_expr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecAction:
    """Run a command in the container's environment."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAction:
    """GET a path; `host` "" is the pod's address; a port may be a name."""

    host: str
    port: int | str
    path: str
    scheme: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAction:
    """Open a connection."""

    host: str
    port: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcAction:
    """Call `grpc.health.v1.Health/Check`."""

    port: int
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepAction:
    """Wait."""

    seconds: float


Action = ExecAction | HttpAction | TcpAction | GrpcAction | SleepAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A periodic question, and how many answers in a row change the verdict."""

    action: Action
    initial_delay_s: float
    period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int
    grace_s: float | None = None
    """Overrides the pod's grace when a failed liveness or startup probe kills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container, as far as a node without images can run one."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    env: tuple[EnvVar, ...]
    env_from: tuple[EnvFrom, ...]
    mounts: tuple[Mount, ...]
    ports: Mapping[str, int]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    post_start: Action | None = None
    pre_stop: Action | None = None
    log_on_error: bool = False
    """`terminationMessagePolicy: FallbackToLogsOnError`."""
    restart_always: bool = False
    """A sidecar: an init container with `restartPolicy: Always`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPath:
    """One key of an object as a file."""

    key: str
    path: str
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFiles:
    """Keys of a config map or secret as files; no items means all keys."""

    object: ObjectRef
    items: tuple[ItemPath, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFile:
    """A field of the pod as a file."""

    path: str
    value: FieldRef | ResourceRef
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """A service account token as a file."""

    path: str
    audience: str
    expiration_s: int


FileSource = ObjectFiles | FieldFile | TokenFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A volume of files: configMap, secret, downwardAPI and projected are all this."""

    sources: tuple[FileSource, ...]
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyDir:
    """An empty folder, on tmpfs for `medium: Memory`."""

    memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath:
    """A path of the host: here, of the node's tmpfs folder."""

    path: str
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A persistent volume claim."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsupportedVolume:
    """A volume source this node has no way to provide."""

    kind: str


VolumeSource = Files | EmptyDir | HostPath | Claim | UnsupportedVolume


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition as the API server has it; `since` in its own form."""

    status: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod bound to a node."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    generation: int
    node: str
    service_account: str
    restart_policy: str
    hostname: str
    grace_s: float
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...]
    volumes: Mapping[str, VolumeSource]
    readiness_gates: tuple[str, ...] = ()
    deleted_at: float | None = None
    """When the API server expects the pod to be gone; None while it is wanted."""
    deletion_grace_s: float | None = None
    phase: str = ""
    """As the API server knows it, like the two fields below."""
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By container; only of containers that have run."""

    @property
    def finished(self) -> bool:
        """Whether its containers will never run again."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def key(self) -> str:
        """`namespace/name`, for people."""
        return f"{self.namespace}/{self.name}"
