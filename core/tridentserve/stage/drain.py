"""How a worker leaves without losing a request.

1. Readiness goes, `Describe` says draining, new Runs are refused: the router sends them elsewhere.
2. What runs is finished.
3. `Release` and `Export` are served until nobody needs this worker's tensors any more: a consumer
   may be about to read them.

All of it within `drain_s`. What is left then is given up: Runs are broken off, tensors deleted, and
the router re-runs their stages.
"""

import asyncio
import logging

from tridentserve.rpc.server import Server
from tridentserve.stage.admission import Admission
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.service import StageService

_log = logging.getLogger(__name__)


async def drain(
    *,
    server: Server,
    service: StageService,
    admission: Admission,
    handoff: Handoff,
    drain_s: float,
) -> bool:
    """Go through the steps; True where nothing had to be given up."""
    service.drain()
    await server.set_ready(False)
    state = {"runs": admission.running, "tensors": handoff.held, "seconds": drain_s}
    _log.info("draining", extra=state)
    try:
        async with asyncio.timeout(drain_s):
            await admission.wait_idle()
            await handoff.wait_released()
    except TimeoutError:
        left = {"runs": admission.running, "tensors": handoff.held}
        _log.warning("drain time is over", extra=left)
        return False
    _log.info("drained")
    return True
