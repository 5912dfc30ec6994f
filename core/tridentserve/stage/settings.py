"""What a worker is told by its environment: read once, checked at once, frozen.

Every variable has its name in `domain.names`. Without any of those that a pod gets (`POD_IP`, …) a
worker still runs, by hand, on 127.0.0.1; only the model folder and the stages have no default. A
bad value is an `InvalidFieldError` that names the variable; the process ends with `os.EX_CONFIG`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tridentserve.domain import names
from tridentserve.domain.ids import DeviceId, NodeId, PipelineName, PoolName, Revision, WorkerId
from tridentserve.domain.stages import STAGES, Stage, stages_label
from tridentserve.errors import InvalidFieldError
from tridentserve.families import gpus
from tridentserve.manifest.environment import DAY_S, integer, log_format, number, port

_ALL = "all"
_UNNAMED = ("", "none", "void", _ALL)
_MAX_GPUS = 1024
_MAX_BATCH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """Settings of one worker process."""

    stages: tuple[Stage, ...]
    """What it hosts, in pipeline order; several when co-located."""
    model_dir: Path
    worker: WorkerId
    pod_uid: str
    node: NodeId
    pipeline: PipelineName
    pool: PoolName
    revision: Revision
    devices: tuple[DeviceId, ...]
    """`node/uuid` of each GPU in order, or the one private `cpu/<pod uid>`."""
    host: str
    """Address that both servers bind: the pod's own."""
    grpc_port: int
    metrics_port: int
    fraction_percent: int
    threads: int | None
    """Threads of one call on CPU; None leaves the choice to the library."""
    dtype: str
    max_batch: int
    """Requests in one call; also the slots of each stage."""
    max_wait_s: float
    """How long a Run waits for others of its work key."""
    redis_url: str | None
    shm_dir: Path | None
    """Directory of a memory domain; None: this worker shares memory with nobody."""
    tensor_ttl_s: float
    """Last resort against producers and routers that died; long enough for any queue."""
    stall_s: float
    """A call without a step for this long means that the engine hangs; decode is one step."""
    drain_s: float
    log_format: str

    @property
    def on_gpu(self) -> bool:
        """True where the worker holds GPUs."""
        return not self.devices[0].startswith("cpu/")


def from_environment(
    environ: Mapping[str, str],
    stages: str | None = None,
    visible: Callable[[], tuple[str, ...]] = gpus.uuids,
) -> StageSettings:
    """Read the settings.

    Args:
        environ: of the process.
        stages: words joined by commas; come before their variable.
        visible: says which GPUs there are, asked where the pod holds some that nothing names.

    Raises:
        InvalidFieldError: a value is missing or wrong; `field` is the variable.
    """
    hosted = _stages(stages if stages is not None else environ.get(names.ENV_STAGES, ""))
    worker = environ.get(names.ENV_POD_NAME) or f"local-{stages_label(hosted).replace('.', '-')}"
    pod_uid = environ.get(names.ENV_POD_UID) or worker
    node = NodeId(environ.get(names.ENV_NODE_NAME) or "local")
    shm_dir = environ.get(names.ENV_SHM_DIR)
    return StageSettings(
        stages=hosted,
        model_dir=_model_dir(environ),
        worker=WorkerId(worker),
        pod_uid=pod_uid,
        node=node,
        pipeline=PipelineName(environ.get(names.ENV_PIPELINE) or "default/local"),
        pool=PoolName(environ.get(names.ENV_POOL) or "local"),
        revision=Revision(environ.get(names.ENV_REVISION) or "000000"),
        devices=_devices(environ, node, pod_uid, visible),
        host=environ.get(names.ENV_POD_IP) or "127.0.0.1",
        grpc_port=port(environ, names.ENV_GRPC_PORT, names.PORT_GRPC),
        metrics_port=port(environ, names.ENV_METRICS_PORT, names.PORT_METRICS),
        fraction_percent=integer(environ, names.ENV_FRACTION_PERCENT, 100, 1, 100),
        threads=integer(environ, names.ENV_THREADS, 0, 0, 4096) or None,
        dtype=environ.get(names.ENV_DTYPE) or "float32",
        max_batch=integer(environ, names.ENV_MAX_BATCH, 1, 1, _MAX_BATCH),
        max_wait_s=number(environ, names.ENV_MAX_WAIT_MS, 5.0, 0.0, 60_000.0) / 1000.0,
        redis_url=environ.get(names.ENV_REDIS_URL) or None,
        shm_dir=Path(shm_dir) if shm_dir else None,
        tensor_ttl_s=number(environ, names.ENV_TENSOR_TTL_SECONDS, 1800.0, 1.0, DAY_S),
        stall_s=number(environ, names.ENV_STALL_SECONDS, 600.0, 0.1, DAY_S),
        drain_s=number(environ, names.ENV_DRAIN_SECONDS, 120.0, 0.0, DAY_S),
        log_format=log_format(environ, "text"),
    )


def _stages(value: str) -> tuple[Stage, ...]:
    words = [word.strip() for word in value.replace(".", ",").split(",") if word.strip()]
    if not words:
        raise InvalidFieldError(
            names.ENV_STAGES, "no stage given; use encode, diffuse, decode, or several with commas"
        )
    unknown = sorted(set(words) - set(STAGES))
    if unknown:
        raise InvalidFieldError(
            names.ENV_STAGES, f"{', '.join(unknown)} is no stage; use encode, diffuse or decode"
        )
    return tuple(stage for stage in STAGES if stage in words)


def _model_dir(environ: Mapping[str, str]) -> Path:
    value = environ.get(names.ENV_MODEL_DIR)
    if not value:
        raise InvalidFieldError(names.ENV_MODEL_DIR, "not set; name the folder of the model")
    return Path(value)


def _devices(
    environ: Mapping[str, str], node: NodeId, pod_uid: str, visible: Callable[[], tuple[str, ...]]
) -> tuple[DeviceId, ...]:
    named = environ.get(names.ENV_VISIBLE_DEVICES, "").strip()
    count = integer(environ, names.ENV_GPU_COUNT, 0, 0, _MAX_GPUS)
    uuids = () if named in _UNNAMED else tuple(named.split(","))
    uuids = tuple(uuid.strip() for uuid in uuids if uuid.strip())
    if not uuids and (count or named == _ALL):
        uuids = visible()
        if count and len(uuids) != count:
            raise InvalidFieldError(
                names.ENV_GPU_COUNT,
                f"the pod was given {count}, but CUDA shows {len(uuids)}; see the node's driver and"
                " device plugin",
            )
    if not uuids:
        return (DeviceId(f"cpu/{pod_uid}"),)
    return tuple(DeviceId(f"{node}/{uuid}") for uuid in uuids)
