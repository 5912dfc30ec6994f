"""What the router is told by its environment: read once, checked at once, frozen.

Every variable has its name in `domain.names`. A bad value is an `InvalidFieldError` that names the
variable, which ends the process with `os.EX_CONFIG`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tridentserve.domain import names
from tridentserve.domain.ids import PipelineName
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.environment import DAY_S, log_format, number, port


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """Settings of one router process."""

    pipeline: PipelineName
    """The one pipeline that it serves."""
    host: str
    """Address that both servers bind: the pod's own."""
    grpc_port: int
    metrics_port: int
    drain_s: float
    """How long running journeys may take after SIGTERM."""
    log_format: str
    poll_s: float = 2.0
    """Between two looks at a worker that answers; a lost one is found by its calls much sooner."""
    first_worker_s: float = 15.0
    """How long a request waits for the first worker ever: without one nobody knows the model. A
    pipeline is Ready when its pods are, which is a moment before the router has asked them."""


def from_environment(environ: Mapping[str, str]) -> RouterSettings:
    """Read the settings.

    Raises:
        InvalidFieldError: a value is missing or wrong; `field` is the variable.
    """
    return RouterSettings(
        pipeline=_pipeline(environ),
        host=environ.get(names.ENV_POD_IP) or "127.0.0.1",
        grpc_port=port(environ, names.ENV_GRPC_PORT, names.PORT_GRPC),
        metrics_port=port(environ, names.ENV_METRICS_PORT, names.PORT_METRICS),
        drain_s=number(environ, names.ENV_DRAIN_SECONDS, 120.0, 0.0, DAY_S),
        log_format=log_format(environ, "text"),
    )


def _pipeline(environ: Mapping[str, str]) -> PipelineName:
    value = environ.get(names.ENV_PIPELINE, "")
    if "/" not in value and value:
        value = f"{environ.get(names.ENV_POD_NAMESPACE) or 'default'}/{value}"
    namespace, _, name = value.partition("/")
    if not namespace or not name:
        raise InvalidFieldError(
            names.ENV_PIPELINE, f"{value!r}; name the pipeline as namespace/name"
        )
    return PipelineName(value)
