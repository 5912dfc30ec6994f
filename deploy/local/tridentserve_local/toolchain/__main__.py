"""`python3 -m tridentserve_local.toolchain`: set the project up, or say where a tool lies.

PYTHONPATH=deploy/local python3 -m tridentserve_local.toolchain setup
PYTHONPATH=deploy/local python3 -m tridentserve_local.toolchain path kubectl
"""

import argparse
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - what a newcomer's python3 is, nobody knows
    sys.exit("TridentServe needs Python 3.11 or newer; run: make PYTHON=python3.11")

from tridentserve_local.toolchain import bootstrap, tools
from tridentserve_local.toolchain.errors import ToolMissingError
from tridentserve_local.toolchain.progress import Board

_TOOLS = {
    "controlplane": tools.controlplane,
    "helm": tools.helm,
    "kubectl": tools.kubectl,
    "prometheus": tools.prometheus,
    "promtool": tools.promtool,
    "redis-server": tools.redis_server,
}


def main() -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tridentserve_local.toolchain")
    commands = parser.add_subparsers(dest="command", required=True)
    setup = commands.add_parser("setup", help="do all of the set-up that is not done yet")
    setup.add_argument(
        "--keep-going", action="store_true", help="name tools that cannot be had, and succeed"
    )
    path = commands.add_parser("path", help="bring a tool, and print its variables and its path")
    path.add_argument("tool", choices=_TOOLS)
    arguments = parser.parse_args()
    try:
        if arguments.command == "setup":
            bootstrap.run(Board(), require_tools=not arguments.keep_going)
        else:
            tool = _TOOLS[arguments.tool]()
            print(*(f"{name}={value}" for name, value in tool.environment.items()), tool.path)
    except ToolMissingError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
