"""Pod template and Deployment of a pool, and the revision of a pipeline.

A pool's template is never changed: what would change it gives a new revision, and with it new
pools beside the old ones. So a Deployment here rolls nothing over; it only keeps a number of
equal pods.
"""

from dataclasses import dataclass

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import PoolName, Revision
from tridentserve.domain.names import (
    ENV_DTYPE,
    ENV_FRACTION_PERCENT,
    ENV_GPU_COUNT,
    ENV_MAX_BATCH,
    ENV_MAX_WAIT_MS,
    ENV_MODEL_DIR,
    ENV_POOL,
    ENV_REDIS_URL,
    ENV_REVISION,
    ENV_SHM_DIR,
    ENV_STAGES,
    ENV_STALL_SECONDS,
    ENV_TENSOR_TTL_SECONDS,
    ENV_THREADS,
    ENV_VISIBLE_DEVICES,
    LABEL_FRACTION,
    LABEL_POOL,
    LABEL_REVISION,
    LABEL_STAGES,
    pool_name,
)
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.stages import STAGES, Stage, stages_label
from tridentserve.manifest.base import Object
from tridentserve.manifest.model import ClaimPath
from tridentserve.manifest.stages import Stage as StageManifest
from tridentserve.manifest.v1alpha1 import DiffusionPipeline
from tridentserve.planner.pools import PoolKey
from tridentserve_operator.render import template
from tridentserve_operator.render.labels import common_labels, content_hash, hashed, metadata
from tridentserve_operator.settings import Settings
from tridentserve_operator.views import GPU, PoolIdentity

_COMMANDS = {
    Stage.ENCODE: "tridentserve-encoder",
    Stage.DIFFUSE: "tridentserve-diffuser",
    Stage.DECODE: "tridentserve-decoder",
}
_MODEL_VOLUME, _MODEL_PATH = "tridentserve-model", f"{template.MOUNTS}/models"
_SHM_VOLUME, _SHM_PATH = "tridentserve-shm", f"{template.MOUNTS}/shm"
_REVISION_CHARACTERS = 6
_ANY = PoolName("any")
_NONE = Revision("none")


def revision(pipeline: DiffusionPipeline, settings: Settings) -> Revision:
    """Hash of the pod templates of all stages, as they are at 100 %, under no pool's name."""
    templates = [
        _pod_template(
            pipeline,
            PoolIdentity(
                name=_ANY,
                shape=PoolShape(
                    stages=(stage,), devices=stage_spec.gpu.count, fraction_percent=100
                ),
                revision=_NONE,
            ),
            settings,
        )
        for stage, stage_spec in pipeline.spec.stages.items()
    ]
    return Revision(content_hash(templates)[:_REVISION_CHARACTERS])


def identity(pipeline: DiffusionPipeline, key: PoolKey) -> PoolIdentity:
    """A pool with the name that its Deployment gets."""
    name = pool_name(
        pipeline.metadata.name,
        stages_label(key.shape.stages),
        key.shape.fraction_percent,
        key.revision,
    )
    return PoolIdentity(name=PoolName(name), shape=key.shape, revision=key.revision)


def deployment(pipeline: DiffusionPipeline, pool: PoolIdentity, settings: Settings) -> Object:
    """The Deployment of a pool of the present revision, but for `spec.replicas`."""
    return hashed(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(pipeline, pool.name, _labels(pipeline, pool)),
            "spec": {
                "revisionHistoryLimit": 0,
                "selector": {"matchLabels": {LABEL_POOL: pool.name}},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                "template": _pod_template(pipeline, pool, settings),
            },
        }
    )


def _labels(pipeline: DiffusionPipeline, pool: PoolIdentity) -> dict[str, str]:
    return {
        **common_labels(pipeline, stages_label(pool.shape.stages)),
        LABEL_POOL: pool.name,
        LABEL_STAGES: stages_label(pool.shape.stages),
        LABEL_REVISION: pool.revision,
        LABEL_FRACTION: str(pool.shape.fraction_percent),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mounted:
    """Volumes of a pod, where its container sees them, and the variables that say so."""

    volumes: tuple[Object, ...] = ()
    mounts: tuple[Object, ...] = ()
    env: tuple[Object, ...] = ()

    def __add__(self, other: "_Mounted") -> "_Mounted":
        return _Mounted(
            volumes=self.volumes + other.volumes,
            mounts=self.mounts + other.mounts,
            env=self.env + other.env,
        )


def _pod_template(pipeline: DiffusionPipeline, pool: PoolIdentity, settings: Settings) -> Object:
    stage = pool.shape.stages[0]
    manifest = dict(pipeline.spec.stages.items())[stage]
    overlay = manifest.template
    mounted = _model(pipeline) + _shared_memory(pipeline, settings)
    mounted += _Mounted(
        volumes=tuple(volume.to_manifest() for volume in overlay.volumes),
        mounts=tuple(mount.to_manifest() for mount in overlay.volume_mounts),
    )
    container = template.Container(
        name="worker",
        image=overlay.image or settings.image,
        command=_COMMANDS[stage],
        env=_env(pipeline, pool, manifest, settings, mounted.env),
        resources=_resources(manifest, pool.shape, settings),
        mounts=mounted.mounts,
    )
    grace_s = pipeline.spec.drain_seconds + template.GRACE_MARGIN_S
    spec = template.pod_spec(container, mounted.volumes, grace_s)
    spec["automountServiceAccountToken"] = False
    spec["topologySpreadConstraints"] = [template.spread(pipeline, {LABEL_POOL: pool.name})]
    if overlay.node_selector:
        spec["nodeSelector"] = dict(overlay.node_selector)
    if overlay.tolerations:
        spec["tolerations"] = [toleration.to_manifest() for toleration in overlay.tolerations]
    if overlay.affinity is not None:
        spec["affinity"] = overlay.affinity.to_manifest()
    return {"metadata": {"labels": _labels(pipeline, pool)}, "spec": spec}


def _env(
    pipeline: DiffusionPipeline,
    pool: PoolIdentity,
    manifest: StageManifest,
    settings: Settings,
    paths: tuple[Object, ...],
) -> tuple[Object, ...]:
    own = {
        ENV_STAGES: ",".join(stage for stage in STAGES if stage in pool.shape.stages),
        ENV_POOL: pool.name,
        ENV_REVISION: pool.revision,
        ENV_FRACTION_PERCENT: str(pool.shape.fraction_percent),
        ENV_DTYPE: pipeline.spec.model.dtype.value,
        ENV_MAX_BATCH: str(manifest.batching.max_size),
        ENV_MAX_WAIT_MS: str(manifest.batching.max_wait_milliseconds),
        ENV_STALL_SECONDS: f"{settings.stall_s:g}",
        ENV_TENSOR_TTL_SECONDS: f"{settings.tensor_ttl_s:g}",
        # A worker never asks a hub for anything: the model folder has it, or the model is broken.
        "HF_HUB_OFFLINE": "1",
    }
    if manifest.gpu.sharing is Sharing.NONE:
        cores = _millicores(pool.shape, settings) // 1000
        own[ENV_THREADS] = str(max(1, cores))
        # Images made for GPUs name all of them: the worker would take one that nobody counts.
        own[ENV_VISIBLE_DEVICES] = "void"
    else:
        own[ENV_GPU_COUNT] = str(manifest.gpu.count)
    common = template.common_env(pipeline, settings)
    ours = (*common, *template.variables(own), *_redis(settings), *paths)
    # Variables are a map keyed by name to the API server: one that is named twice is refused.
    theirs = {variable.name: variable.to_manifest() for variable in manifest.template.env}
    return (
        *(variable for variable in ours if variable["name"] not in theirs),
        *theirs.values(),
    )


def _redis(settings: Settings) -> tuple[Object, ...]:
    if settings.redis_secret_name:
        key = {"name": settings.redis_secret_name, "key": settings.redis_secret_key}
        return ({"name": ENV_REDIS_URL, "valueFrom": {"secretKeyRef": key}},)
    return template.variables({ENV_REDIS_URL: settings.redis_url} if settings.redis_url else {})


def _millicores(shape: PoolShape, settings: Settings) -> int:
    return max(1, settings.cpu_unit_millicores * shape.fraction_percent // 100)


def _resources(manifest: StageManifest, shape: PoolShape, settings: Settings) -> Object:
    overlay = manifest.template.resources
    requests = dict(overlay.requests) if overlay else {}
    limits = dict(overlay.limits) if overlay else {}
    if manifest.gpu.sharing is Sharing.NONE:
        requests["cpu"] = f"{_millicores(shape, settings)}m"
    else:
        limits[GPU] = str(manifest.gpu.count)
    return {name: values for name, values in (("requests", requests), ("limits", limits)) if values}


def _model(pipeline: DiffusionPipeline) -> _Mounted:
    location = pipeline.spec.model.location
    if not isinstance(location, ClaimPath):
        return _Mounted(env=template.variables({ENV_MODEL_DIR: location.path}))
    # The whole claim is mounted: a sub-path that is not there would keep the container from being
    # created, and only the worker can say in a sentence which folder is missing.
    folder = f"{_MODEL_PATH}/{location.path}".rstrip("/")
    claim = {"claimName": location.claim, "readOnly": True}
    return _Mounted(
        volumes=({"name": _MODEL_VOLUME, "persistentVolumeClaim": claim},),
        mounts=({"name": _MODEL_VOLUME, "mountPath": _MODEL_PATH, "readOnly": True},),
        env=template.variables({ENV_MODEL_DIR: folder}),
    )


def _shared_memory(pipeline: DiffusionPipeline, settings: Settings) -> _Mounted:
    if not settings.shares_memory(pipeline.metadata.namespace):
        return _Mounted()
    path = {"path": settings.shm_host_path, "type": "DirectoryOrCreate"}
    return _Mounted(
        volumes=({"name": _SHM_VOLUME, "hostPath": path},),
        mounts=({"name": _SHM_VOLUME, "mountPath": _SHM_PATH},),
        env=template.variables({ENV_SHM_DIR: _SHM_PATH}),
    )
