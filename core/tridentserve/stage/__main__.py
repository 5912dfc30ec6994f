"""`tridentserve-worker`: serve one stage, or several in one process."""

import argparse
import asyncio
import os
import sys
import threading
from collections.abc import Sequence

from tridentserve.domain import names
from tridentserve.errors import TridentServeError
from tridentserve.stage import settings, worker
from tridentserve.telemetry import logs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit code.

    A worker that cannot start says why in one sentence, its last line on standard error.
    """
    parser = argparse.ArgumentParser(
        prog="tridentserve-worker",
        description="Serve stages of a diffusion pipeline. Settings come from the environment.",
    )
    parser.add_argument(
        "--stages", help=f"encode, diffuse, decode, or several with commas [{names.ENV_STAGES}]"
    )
    code = _run(parser.parse_args(arguments).stages)
    if any(thread.name == "engine" for thread in threading.enumerate()):
        # A call or a load that was given up still runs. It cannot be stopped, and the interpreter
        # must not take the modules down below it: that ends in a crash instead of this code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _run(stages: str | None) -> int:
    try:
        own = settings.from_environment(os.environ, stages)
        logs.configure(own.log_format)
        asyncio.run(worker.run(own))
    except TridentServeError as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return os.EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
