"""What the router is told by its environment: read once, checked at once, frozen.

Every variable has its name in `domain.names`. A bad value is an `InvalidFieldError` that names the
variable, which ends the process with code 78.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tridentserve.domain import names
from tridentserve.domain.ids import PipelineName
from tridentserve.errors import InvalidFieldError

_HIGHEST_PORT = 65_535
_DAY_S = 86_400.0


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
    log_format = environ.get(names.ENV_LOG_FORMAT) or "text"
    if log_format not in ("json", "text"):
        raise InvalidFieldError(names.ENV_LOG_FORMAT, f"{log_format!r}; use json or text")
    return RouterSettings(
        pipeline=_pipeline(environ),
        host=environ.get(names.ENV_POD_IP) or "127.0.0.1",
        grpc_port=_port(environ, names.ENV_GRPC_PORT, names.PORT_GRPC),
        metrics_port=_port(environ, names.ENV_METRICS_PORT, names.PORT_METRICS),
        drain_s=_seconds(environ, names.ENV_DRAIN_SECONDS, 120.0),
        log_format=log_format,
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


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        raise InvalidFieldError(name, f"{text!r}; use a whole number from 0 to {_HIGHEST_PORT}")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    # Written so that `nan`, which compares false with everything, is refused too.
    if not 0.0 <= value <= _DAY_S:
        raise InvalidFieldError(name, f"{text!r}; use seconds from 0 to {_DAY_S:.0f}")
    return value
