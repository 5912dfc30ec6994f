"""Values that a process is told by its environment: parsed and checked by one set of rules.

What is not set, or empty, keeps its default. A bad value is an `InvalidFieldError` that names the
variable; processes end with `os.EX_CONFIG` then, which the operator takes for a sentence to show
and not for a crash to wait out.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from tridentserve.domain import names
from tridentserve.errors import InvalidFieldError

HIGHEST_PORT = 65_535
DAY_S = 86_400.0
_LOG_FORMATS = ("json", "text")

_N = TypeVar("_N", int, float)


def integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number between two bounds, both allowed.

    Raises:
        InvalidFieldError: it is none.
    """
    return _between(environ, name, default, low, high, int, "a whole number")


def number(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """A number between two bounds, both allowed.

    Raises:
        InvalidFieldError: it is none.
    """
    return _between(environ, name, default, low, high, float, "a number")


def port(environ: Mapping[str, str], name: str, default: int) -> int:
    """A port to listen on; 0 lets the system choose.

    Raises:
        InvalidFieldError: it is none.
    """
    return integer(environ, name, default, 0, HIGHEST_PORT)


def log_format(environ: Mapping[str, str], default: str) -> str:
    """`json` for machines or `text` for people.

    Raises:
        InvalidFieldError: it is neither.
    """
    value = environ.get(names.ENV_LOG_FORMAT) or default
    if value not in _LOG_FORMATS:
        raise InvalidFieldError(names.ENV_LOG_FORMAT, f"{value!r}; use {' or '.join(_LOG_FORMATS)}")
    return value


def _between(
    environ: Mapping[str, str],
    name: str,
    default: _N,
    low: _N,
    high: _N,
    parse: Callable[[str], _N],
    kind: str,
) -> _N:
    text = environ.get(name)
    if not text:
        return default
    problem = InvalidFieldError(name, f"{text!r}; use {kind} between {low} and {high}")
    try:
        value = parse(text)
    except ValueError:
        raise problem from None
    # Written so that `nan`, which compares false with everything, is refused too.
    if not low <= value <= high:
        raise problem
    return value
