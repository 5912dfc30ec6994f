"""`tridentserve-router`: the entry of one pipeline, until it is told to end."""

import asyncio
import os
import sys

from tridentserve.errors import InvalidFieldError, UnavailableError
from tridentserve.rpc.server import wait_for_signal
from tridentserve.telemetry import logs
from tridentserve_router.app import Router
from tridentserve_router.kube import connect
from tridentserve_router.pipeline import KubernetesPipeline
from tridentserve_router.pods import KubernetesPods
from tridentserve_router.profiles import KubernetesConfigMaps
from tridentserve_router.settings import RouterSettings, from_environment


async def serve(settings: RouterSettings) -> None:
    """Run until SIGTERM or SIGINT, then drain.

    Raises:
        UnavailableError: there is no cluster to watch, or a port is taken.
    """
    async with await connect():
        pass  # a configuration that cannot work ends it here, and says why
    router = Router(
        settings,
        pipeline=KubernetesPipeline(settings.pipeline),
        pods=KubernetesPods(settings.pipeline),
        config_maps=KubernetesConfigMaps(settings.pipeline),
    )
    starting = asyncio.create_task(router.start())
    asked = asyncio.create_task(wait_for_signal())
    await asyncio.wait([starting, asked], return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        await asked
    else:  # asked to end before the pipeline could be read
        starting.cancel()
    await router.stop()


def main() -> int:
    """Entry point; 78 where the configuration is wrong, said in one sentence."""
    try:
        settings = from_environment(os.environ)
        logs.configure(settings.log_format)
        asyncio.run(serve(settings))
    except (InvalidFieldError, UnavailableError) as error:
        print(f"tridentserve-router cannot start: {error}", file=sys.stderr)
        return os.EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
