"""The process behind `tridentserve local up` and `LocalCluster`: reaper above, supervisor below.

    python -m tridentserve_local --state DIR --settings JSON [--with-stdin] [--remove]

Says on stdout, one JSON object a line, what has come up, and at last what runs (`"ready": true`) or
what went wrong (`"error"`). It imports nothing heavy before the fork, so that the reaper stays
small.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tridentserve.errors import ExhaustedError

from .addresses import AddressBlock
from .daemon import clean_remains, lock, say
from .folders import Folders
from .reaper import run_guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a cluster until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tridentserve_local")
    parser.add_argument("--state", type=Path, required=True, help="folder of this cluster")
    parser.add_argument("--settings", required=True, help="ClusterSettings as JSON")
    parser.add_argument("--with-stdin", action="store_true", help="stop when stdin ends")
    parser.add_argument("--remove", action="store_true", help="remove the folder at the end")
    options = parser.parse_args(arguments)
    folders = Folders.of(options.state.absolute())
    folders.create()
    held = lock(folders)
    if held is None:
        say({"error": f"a cluster runs already in {folders.state}"})
        return 1
    clean_remains(folders)
    folders.create()

    def run() -> int:
        # Here, below the fork: what it imports is ten times what the reaper needs.
        from .running import run_cluster

        return run_cluster(folders, options.settings, block, with_stdin=options.with_stdin)

    def clean_up() -> None:
        if options.remove:
            folders.remove()
        else:
            folders.remove_memory()

    try:
        # Before the fork, so that the reaper holds it too: nobody else may get these addresses
        # while a process of ours still listens.
        block = AddressBlock.take()
    except ExhaustedError as error:
        say({"error": str(error)})
        return 1
    return run_guarded(run, clean_up)


if __name__ == "__main__":
    sys.exit(main())
