"""Which of the namespaces to serve can be served: one that cannot must not cost the others theirs.

The operator's rights in a namespace are a RoleBinding there, which goes with it, and kopf ends when
it may not list what it watches. The process then starts anew, and passes over what it may not list
until it may.
"""

import asyncio
import logging
from collections.abc import Collection

from tridentserve.errors import (
    InvalidFieldError,
    NotFoundError,
    TridentServeError,
    UnavailableError,
)
from tridentserve.manifest.base import KIND
from tridentserve_operator.sweep import Lister

log = logging.getLogger(__name__)

_AGAIN_S = 60.0


async def split(lister: Lister, wanted: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those whose pipelines can be listed, and those whose cannot.

    Raises:
        NotFoundError: there are some, and none of them can.
        UnavailableError: the API server does not answer.
    """
    served = [namespace for namespace in wanted if await _may(lister, namespace)]
    passed = tuple(namespace for namespace in wanted if namespace not in served)
    if passed and not served:
        raise NotFoundError(
            f"watchNamespaces: pipelines cannot be listed in any of them: {', '.join(passed)}"
        )
    for namespace in passed:
        log.warning("namespace passed over", extra={"namespace": namespace})
    return tuple(served), passed


async def come_back(lister: Lister, passed: Collection[str]) -> None:
    """Wait until one that was passed over can be served; without any, for ever.

    Raises:
        UnavailableError: one can: all has to start anew.
    """
    while True:
        await asyncio.sleep(_AGAIN_S)
        for namespace in passed:
            try:
                back = await _may(lister, namespace)
            except TridentServeError:
                continue
            if back:
                raise UnavailableError(
                    f"the namespace {namespace} can be served now: starting anew"
                )


async def _may(lister: Lister, namespace: str) -> bool:
    try:
        await lister.uids(KIND, namespace)
    except (InvalidFieldError, NotFoundError):
        return False
    return True
