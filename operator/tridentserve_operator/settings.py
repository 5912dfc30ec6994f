"""What the operator is told by its environment: read once, in `__main__`, and never again.

Everything here belongs to whoever runs the platform, not to whoever may create a pipeline: where
Redis and Prometheus are, which image workers run, which folders of a host may be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tridentserve.domain.names import (
    ENV_CPU_UNIT,
    ENV_POD_IP,
    ENV_PREFIX,
    ENV_REDIS_URL,
    PORT_METRICS,
)
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.environment import log_format, port

_MILLI = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator can be told, with its defaults."""

    prometheus_url: str = ""
    """Base address of Prometheus; empty means that no load is ever known, so that sizes hold."""
    redis_url: str = ""
    """Where tensors go that cannot be handed over in shared memory; empty leaves none. Pods carry
    it as it is, so it holds no password that readers of pods must not see."""
    redis_secret_name: str = ""
    """Secret of each pipeline's namespace that holds that address, and comes before `redis_url`.
    The operator never reads it."""
    redis_secret_key: str = "url"
    """Key of the address in it."""
    image: str = "tridentserve"
    """Image of router and workers where a stage's template names no other one."""
    shm_host_path: str = ""
    """Folder of a host, on a tmpfs, through which the pods of one node share memory."""
    shm_namespaces: frozenset[str] = frozenset()
    """Namespaces whose pods get that folder: they must admit hostPath volumes."""
    file_roots: tuple[str, ...] = ()
    """Folders under which `file://` models may lie; none allows no `file://` at all."""
    cpu_unit_millicores: int = 1000
    """Processor time of a worker at 100 % where no GPU is used."""
    load_window_s: int = 60
    """Window of the rates that Prometheus is asked for; at least four scrape intervals."""
    load_interval_s: float = 5.0
    """Between two questions to Prometheus."""
    load_max_age_s: float = 30.0
    """Older samples are no measurement: a scrape that failed twice in a row at 15 s."""
    router_cluster_role: str = "tridentserve-router"
    """ClusterRole that each router's service account is bound to; the chart brings it."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to serve; none means all of them."""
    log_format: str = "json"
    """`json` in pods, `text` for people."""
    tick_s: float = 1.0
    """Between two looks at what is dirty or due."""
    step_timeout_s: float = 600.0
    """How long a step of a transition may take before it is undone: loading weights included."""
    unschedulable_s: float = 60.0
    """How long a pod that the scheduler cannot place is waited for before room is made for it, or
    its step undone: time for a cluster to add a node."""
    retry_s: float = 600.0
    """How long a size that could not be had is not asked for again."""
    stall_s: float = 600.0
    """How long a worker's call may take without a step, decode as one, until it counts as hung."""
    tensor_ttl_s: float = 1800.0
    """How long a tensor lives that nobody releases: longer than any queue."""
    host: str = "127.0.0.1"
    """Address that health and metrics bind to."""
    port: int = PORT_METRICS
    """Port of health and metrics."""

    def shares_memory(self, namespace: str) -> bool:
        """True where pods of a namespace get the shared folder."""
        return bool(self.shm_host_path) and namespace in self.shm_namespaces


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings; what is not set keeps its default.

    Raises:
        InvalidFieldError: a value cannot be read; the field is the variable.
    """
    default = Settings()

    def text(name: str, otherwise: str) -> str:
        return environment.get(_variable(name)) or otherwise

    def words(name: str, separator: str) -> tuple[str, ...]:
        value = environment.get(_variable(name), "")
        return tuple(word.strip() for word in value.split(separator) if word.strip())

    def seconds(name: str, otherwise: float) -> float:
        return _positive(_variable(name), environment.get(_variable(name)), otherwise)

    unit = _positive(ENV_CPU_UNIT, environment.get(ENV_CPU_UNIT), 1.0)
    return Settings(
        prometheus_url=text("PROMETHEUS_URL", default.prometheus_url).rstrip("/"),
        redis_url=environment.get(ENV_REDIS_URL, default.redis_url),
        redis_secret_name=text("REDIS_SECRET_NAME", default.redis_secret_name),
        redis_secret_key=text("REDIS_SECRET_KEY", default.redis_secret_key),
        image=text("IMAGE", default.image),
        shm_host_path=_absolute(_variable("SHM_HOST_PATH"), text("SHM_HOST_PATH", "")),
        shm_namespaces=frozenset(words("SHM_NAMESPACES", ",")),
        file_roots=tuple(
            _absolute(_variable("FILE_ROOTS"), root) for root in words("FILE_ROOTS", ":")
        ),
        cpu_unit_millicores=max(1, round(unit * _MILLI)),
        load_window_s=max(1, round(seconds("LOAD_WINDOW_SECONDS", default.load_window_s))),
        load_interval_s=seconds("LOAD_INTERVAL_SECONDS", default.load_interval_s),
        load_max_age_s=seconds("LOAD_MAX_AGE_SECONDS", default.load_max_age_s),
        router_cluster_role=text("ROUTER_CLUSTER_ROLE", default.router_cluster_role),
        watch_namespaces=words("WATCH_NAMESPACES", ","),
        log_format=log_format(environment, default.log_format),
        tick_s=seconds("TICK_SECONDS", default.tick_s),
        step_timeout_s=seconds("STEP_TIMEOUT_SECONDS", default.step_timeout_s),
        unschedulable_s=seconds("UNSCHEDULABLE_SECONDS", default.unschedulable_s),
        retry_s=seconds("RETRY_SECONDS", default.retry_s),
        stall_s=seconds("STALL_SECONDS", default.stall_s),
        tensor_ttl_s=seconds("TENSOR_TTL_SECONDS", default.tensor_ttl_s),
        host=environment.get(ENV_POD_IP, default.host),
        port=port(environment, _variable("METRICS_PORT"), default.port),
    )


def _variable(name: str) -> str:
    return ENV_PREFIX + name


def _absolute(variable: str, path: str) -> str:
    if path and not path.startswith("/"):
        raise InvalidFieldError(variable, f"{path!r} is no absolute path")
    return path


def _positive(variable: str, value: str | None, otherwise: float) -> float:
    if value is None or value == "":
        return float(otherwise)
    cores_in_milli = variable == ENV_CPU_UNIT and value.endswith("m")
    try:
        number = float(value[:-1]) / _MILLI if cores_in_milli else float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise InvalidFieldError(variable, f"{value!r} is no number above 0")
    return number
