"""`tridentserve-operator`: settings, logs, metrics, and kopf beside the one loop.

Whatever of these ends, ends the process; Kubernetes starts it again, and nothing is lost but
deadlines, since every look begins with what is there.
"""

import asyncio
import logging
import os
import sys
import time

import kopf
from kubernetes.aio.config import ConfigException
from prometheus_client import CollectorRegistry

from tridentserve.domain.names import ENV_POD_NAME
from tridentserve.errors import TridentServeError
from tridentserve.rpc.probes import ProbeServer
from tridentserve.telemetry import logs
from tridentserve.telemetry.metrics import OperatorMetrics
from tridentserve_operator import handlers, namespaces
from tridentserve_operator.health import Health
from tridentserve_operator.kube import Kube
from tridentserve_operator.loop import Loop
from tridentserve_operator.prometheus import Prometheus
from tridentserve_operator.reconcile import Reconciler
from tridentserve_operator.settings import Settings, from_environment
from tridentserve_operator.sweep import Sweeper

log = logging.getLogger(__name__)


async def serve(settings: Settings, reporter: str) -> None:
    """Run until a signal comes.

    Raises:
        TridentServeError: it cannot run here; says why.
    """
    kube = Kube()
    try:
        await kube.require_definition()
        await _serve(settings, reporter, kube)
    finally:
        await kube.close()


async def _serve(settings: Settings, reporter: str, kube: Kube) -> None:
    served, passed = await namespaces.split(kube, settings.watch_namespaces)
    collected = CollectorRegistry()
    metrics, health = OperatorMetrics(collected), Health(time.monotonic)
    prometheus = Prometheus(
        settings.prometheus_url,
        window_s=settings.load_window_s,
        interval_s=settings.load_interval_s,
        clock=time.monotonic,
    )
    reconciler = Reconciler(
        kube,
        settings,
        metrics,
        lambda: prometheus.answer,
        time.monotonic,
        reporter=reporter,
    )
    loop = Loop(reconciler, metrics, health, time.time, tick_s=settings.tick_s)
    sweeper = Sweeper(kube, handlers.KINDS, served, loop.mark)
    probes = ProbeServer(
        host=settings.host, port=settings.port, registry=collected, liveness=health.problem
    )
    await probes.start()
    probes.ready = True
    log.info("operator started", extra={"address": probes.address})
    try:
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(work.run()) for work in (loop, prometheus, sweeper)]
            beside.append(group.create_task(namespaces.come_back(kube, passed)))
            await _watch(served, loop, sweeper)
            for task in beside:
                task.cancel()
    finally:
        await probes.stop()


async def _watch(served: tuple[str, ...], loop: Loop, sweeper: Sweeper) -> None:
    options = kopf.OperatorSettings()
    # Rights to list definitions and namespaces are not asked for.
    options.scanning.disabled = True
    await kopf.operator(
        registry=handlers.registry(loop, sweeper),
        settings=options,
        standalone=True,
        clusterwide=not served,
        namespaces=served,
    )


def main() -> int:
    """Run; returns the exit code."""
    try:
        settings = from_environment(os.environ)
        logs.configure(settings.log_format)
    except (TridentServeError, ValueError) as error:
        print(f"tridentserve-operator: {error}", file=sys.stderr)
        return os.EX_CONFIG
    # kopf tells of every handler that it calls, and the libraries of every request.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    try:
        asyncio.run(serve(settings, os.environ.get(ENV_POD_NAME, "tridentserve-operator")))
    except (TridentServeError, ConfigException) as error:
        print(f"tridentserve-operator: {error}", file=sys.stderr)
        return os.EX_CONFIG
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup:
        logging.getLogger(__name__).exception("operator ended")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
