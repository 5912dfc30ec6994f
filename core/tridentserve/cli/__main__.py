"""`tridentserve`: finds its sub-commands among the installed entry points and runs one.

A sub-command is a module with `configure(parser)` and `run(args) -> int`, registered in the group
`tridentserve.commands`; so this package imports none of them, and loads only the one asked for.
"""

import argparse
import os
import sys
from importlib.metadata import EntryPoint, entry_points

from tridentserve import __version__
from tridentserve.errors import TridentServeError

GROUP = "tridentserve.commands"


def _usage(commands: dict[str, EntryPoint]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tridentserve", description="Stage-level serving of diffusion pipelines on Kubernetes."
    )
    parser.add_argument("--version", action="version", version=f"tridentserve {__version__}")
    parser.add_argument("command", choices=sorted(commands), help="what to do")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a sub-command.

    The exit status is its own, 1 for an error of ours, 130 for Ctrl-C, and 141 when whoever read
    what is printed went away (`| head`).
    """
    given = sys.argv[1:] if arguments is None else arguments
    commands = {entry.name: entry for entry in entry_points(group=GROUP)}
    usage = _usage(commands)
    if not given or given[0] not in commands:
        usage.parse_args(given or ["--help"])
    command = commands[given[0]].load()
    parser = argparse.ArgumentParser(
        prog=f"tridentserve {given[0]}", description=(command.__doc__ or "").strip().split("\n")[0]
    )
    command.configure(parser)
    try:
        status = int(command.run(parser.parse_args(given[1:])))
        sys.stdout.flush()
    except TridentServeError as error:
        print(f"tridentserve {given[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Else Python complains once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


if __name__ == "__main__":
    sys.exit(main())
