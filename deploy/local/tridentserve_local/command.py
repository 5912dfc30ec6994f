"""Runs a Kubernetes cluster on this machine, without Docker: `up`, `status`, `down`, `demo`."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from pathlib import Path

from tridentserve.errors import InvalidFieldError, TemporaryError, UnavailableError

from .asking import ask
from .daemon import clean_remains, runs
from .folders import Folders, state_home
from .settings import ClusterSettings
from .starting import fetch_tools, launch
from .toolchain.errors import ToolMissingError
from .wire import Json

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_DOWN_S = 30.0
_FEATURES = """
A node runs each container's command as a process of this machine: images are ignored, resources
and security contexts are admitted but not enforced, and Services have no address (components
watch pods). Pods see only their own environment, and end with the cluster.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _FEATURES
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start a cluster, unless it runs")
    up.add_argument("--nodes", type=_positive, default=1, help="how many nodes (1)")
    up.add_argument("--gpus", type=_natural, default=0, help="made-up GPUs of each node (0)")
    up.add_argument("--cpus", type=_positive, default=8, help="CPUs each node says it has (8)")
    up.add_argument("--memory-gib", type=_positive, default=32, help="memory likewise (32)")
    up.add_argument("--redis-max-memory", default="256mb", help="Redis refuses more (256mb)")
    up.add_argument("--scrape-seconds", type=float, default=1.0, help="of Prometheus (1)")
    up.add_argument("--foreground", action="store_true", help="stay, and end it with Ctrl-C")
    status = verbs.add_parser("status", help="what runs; exit status 3 if nothing does")
    status.add_argument("--json", action="store_true", help="for programs")
    down = verbs.add_parser("down", help="end a cluster and remove all that is left of it")
    for verb in (up, status, down):
        verb.add_argument("--name", default="default", help="which cluster (default)")
    demo = verbs.add_parser("demo", help="the product on a cluster of its own, told and checked")
    demo.add_argument("--keep", action="store_true", help="leave the cluster running")
    demo.add_argument("--name", default="demo", help="of the cluster that is kept (demo)")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="for the pictures")


def run(args: argparse.Namespace) -> int:
    """Carry the verb out; the exit status."""
    if not _NAME.fullmatch(args.name):
        raise InvalidFieldError("--name", f"{args.name!r} must be lower-case letters, digits, -")
    folders = Folders.of(state_home() / args.name)
    try:
        match args.verb:
            case "up":
                return _up(args, folders)
            case "status":
                return _status(args, folders)
            case "demo":
                return _demo(args)
            case _:
                return _down(args.name, folders)
    except ToolMissingError as error:
        print(f"tridentserve local: {error}", file=sys.stderr)
        return 1


def _up(args: argparse.Namespace, folders: Folders) -> int:
    if runs(folders):
        description = _describe(folders)
        verb = "runs" if description["ready"] else "is being started"
        print(f"The cluster {args.name!r} {verb} already.")
        _print(description)
        return 0
    settings = ClusterSettings(
        nodes=args.nodes,
        gpus=args.gpus,
        cpus=args.cpus,
        memory_gib=args.memory_gib,
        redis_max_memory=args.redis_max_memory,
        scrape_interval_s=args.scrape_seconds,
    )
    fetch_tools(settings)
    process, description = launch(
        folders, settings, with_stdin=args.foreground, remove=args.foreground, progress=_progress
    )
    _print(description)
    if not args.foreground:
        print(f"Stop it with: tridentserve local down --name {args.name}")
        return 0
    print("Ctrl-C ends it.")
    try:
        return process.wait()
    except KeyboardInterrupt:
        if process.stdin is not None:
            process.stdin.close()
        return process.wait()


def _status(args: argparse.Namespace, folders: Folders) -> int:
    if not runs(folders):
        left = " It ended without order: `down` cleans up." if folders.state.exists() else ""
        print(f"No cluster {args.name!r} runs.{left}")
        return 3
    description = _describe(folders)
    if args.json:
        print(json.dumps(description))
    else:
        _print(description)
    return 0


def _down(name: str, folders: Folders) -> int:
    if not folders.state.exists():
        print(f"No cluster {name!r} runs.")
        return 0
    if runs(folders):
        ask(folders.control, "POST", "/stop")
        deadline = time.monotonic() + _DOWN_S
        while runs(folders):
            if time.monotonic() > deadline:
                raise TemporaryError(f"the cluster {name!r} does not end; see {folders.logs}")
            time.sleep(0.05)
    else:
        killed = clean_remains(folders)
        print(f"The cluster had ended without order; {killed} processes of it were left.")
    folders.remove()
    print(f"The cluster {name!r} is gone.")
    return 0


def _demo(args: argparse.Namespace) -> int:
    # Only here, since it needs the client, and the other verbs do not.
    from .demo import narrator, story

    choices = story.Choices(output=args.output, keep=args.keep, name=args.name)
    return story.run(choices, narrator.Narrator(sys.stdout))


def _describe(folders: Folders) -> Json:
    """What a running cluster says of itself."""
    try:
        return ask(folders.control, "GET", "/status")
    except UnavailableError:
        # Between the lock and the socket, or the other way round.
        raise UnavailableError("the cluster has just begun or is about to end; ask again") from None


def _progress(what: str, seconds: float) -> None:
    print(f"  {what:<14} up after {seconds:5.1f} s", flush=True)


def _print(description: Json) -> None:
    nodes = (
        f"{name} {'' if node['running'] else '(down) '}{node['address']}"
        for name, node in description["nodes"].items()
    )
    services = (
        f"{name} {'(down)' if pid is None else f'pid {pid}'}"
        for name, pid in description["services"].items()
    )
    rows = {
        "API server": description["server"],
        "nodes": ", ".join(nodes),
        "Redis": description["redis_url"],
        "Prometheus": description["prometheus_url"],
        "services": ", ".join(services),
        "processes": f"{description['processes']} of pods",
        "logs": description["logs"],
        "kubeconfig": description["kubeconfig"],
    }
    for name, value in rows.items():
        print(f"  {name:<14} {value}")
    kubectl = "" if shutil.which("kubectl") else "   # or any other client of Kubernetes"
    print(f"\n  export KUBECONFIG={Path(description['kubeconfig'])}{kubectl}\n")


def _positive(text: str) -> int:
    number = _natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)
