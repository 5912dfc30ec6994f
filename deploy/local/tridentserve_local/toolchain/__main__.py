"""`python -m tridentserve_local.toolchain`: set the project up, or say where a tool lies."""

import argparse
import sys

from tridentserve_local.toolchain import tools
from tridentserve_local.toolchain.errors import ToolMissingError

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
    parser = argparse.ArgumentParser(prog="python -m tridentserve_local.toolchain")
    commands = parser.add_subparsers(dest="command", required=True)
    path = commands.add_parser("path", help="bring a tool, and print its variables and its path")
    path.add_argument("tool", choices=_TOOLS)
    arguments = parser.parse_args()
    try:
        tool = _TOOLS[arguments.tool]()
    except ToolMissingError as error:
        print(error, file=sys.stderr)
        return 1
    print(*(f"{name}={value}" for name, value in tool.environment.items()), tool.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
