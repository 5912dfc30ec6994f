"""What serving stage by stage costs over doing without: every ratio, measured in one run.

    python benchmarks/overhead.py [--out FILE] [--check] [--only split hops router]

| part | ours | unit | to reach |
| --- | --- | --- | --- |
| `split` | a request through a local cluster | the same in one process | 1.05 at 512 px |
| `hops` | put and get by shared memory, across processes | two memcpys | 1.5 at 4 and 32 MiB |
| | put and get by Redis, across processes | SET and GET of redis-py | 1 |
| `router` | processor time of the router a request | that of a bare relay of the streams | 1.5 |

Ours and the unit take turns all the time, so that a ratio survives a machine that is busy otherwise
where seconds do not; `--check` fails by ratios only. Run it when nothing else runs all the same:
each part says the load average, and how long the monolith waited for its core.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hops
import router_relay
import split

PARTS = ("encode", "diffuse", "decode", "wait", "queue", "fetch", "put", "rest")
LIBRARIES = ("torch", "diffusers", "transformers", "grpcio", "redis")
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A ratio that is to be reached."""

    what: str
    ratio: float
    limit: float

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.ratio <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one part found."""

    rows: list[dict[str, Any]]
    targets: list[Target]


# --- the three parts ------------------------------------------------------------------------------


def measure_split(args: argparse.Namespace) -> Section:
    """Through the cluster, in units of the monolith."""
    section = Section(rows=[], targets=[])
    sides = sorted(args.sides)
    with tempfile.TemporaryDirectory() as folder:
        found = split.run(
            Path(folder),
            sides=sides,
            steps=args.steps,
            rounds=args.rounds,
            threads=args.threads,
            wider=args.wider,
            size=args.size,
        )
        for rows in found:
            show_split(rows)
            by_name = {row.system: row for row in rows}
            unit = by_name[split.UNIT]
            for row in rows:
                ratio = split.ratio(row, unit)
                least = min(row.seconds) / min(unit.seconds)
                ratios = {"ratio": ratio, "ratio_of_minima": least}
                ratios["ratio_of_processor_time"] = split.cpu_ratio(row, unit)
                section.rows.append(asdict(row) | ratios)
                if row.side == sides[-1] and row.system in split.NAMESPACES:
                    what = f"split by {row.system} over monolith, {row.side} px"
                    section.targets.append(Target(what=what, ratio=ratio, limit=1.05))
    return section


def show_split(rows: Sequence[split.Row]) -> None:
    """One size: the whole, then where it went."""
    unit, side = rows[0], rows[0].side
    print(f"\n{side} x {side}, {unit.steps} steps, {len(unit.seconds)} rounds; seconds")
    print(table_line("system", "median", "least", "ratio", "of least", "of CPU", *PARTS))
    for row in rows:
        print(
            table_line(
                row.system,
                f"{row.median_s:.3f}",
                f"{min(row.seconds):.3f}",
                f"{split.ratio(row, unit):.3f}",
                f"{min(row.seconds) / min(unit.seconds):.3f}",
                f"{split.cpu_ratio(row, unit):.3f}",
                *(f"{row.parts[part]:.4f}" if part in row.parts else "" for part in PARTS),
            ),
            flush=True,
        )
    print(f"the monolith waited {unit.parts['waited for a core']:.3f} s for its core")


def table_line(name: str, *cells: str) -> str:
    """A row of equally wide columns."""
    return f"{name:>20}" + "".join(f"{cell:>9}" for cell in cells)


def measure_hops(args: argparse.Namespace) -> Section:
    """The stores, in units of memcpy and of redis-py."""
    section = Section(rows=[], targets=[])
    print(f"\n{args.hop_rounds} rounds; {hops.HEADER}")
    for hop in hops.run(args.hop_rounds):
        print(hops.line(hop), flush=True)
        mib = hop.size_bytes / MIB
        shm, redis = hop.ratio("shm", "memcpy"), hop.ratio("redis", "plain")
        section.rows.append(asdict(hop) | {"shm/memcpy": shm, "redis/plain": redis})
        if mib >= 4:
            what = f"shm over two memcpys, {mib:g} MiB"
            section.targets.append(Target(what=what, ratio=shm, limit=1.5))
        what = f"Redis over redis-py, {mib:g} MiB"
        section.targets.append(Target(what=what, ratio=redis, limit=1.0))
    return section


def measure_router(args: argparse.Namespace) -> Section:
    """The router, in units of the relay."""
    section = Section(rows=[], targets=[])
    print(f"\n{router_relay.HEADER}")
    for relay, router in router_relay.run(args.router_seconds, args.router_rounds):
        print(router_relay.line(relay, router), flush=True)
        section.rows.extend((asdict(relay), asdict(router)))
        what = f"router over relay, processor time, {router.concurrency} at once"
        ratio = router.cpu_ms / relay.cpu_ms
        section.targets.append(Target(what=what, ratio=ratio, limit=1.5))
    return section


SECTIONS: Mapping[str, Callable[[argparse.Namespace], Section]] = {
    "split": measure_split,
    "hops": measure_hops,
    "router": measure_router,
}


# --- the run --------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What it was measured on."""
    models = (
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    return {
        "processor": next(models, platform.machine()),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def sections(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any], list[Target]]]:
    """Each part, measured, with the load average around it, which it is a part of itself."""
    for name in args.only:
        before = os.getloadavg()[0]
        found = SECTIONS[name](args)
        load = {"load_average_before": before, "load_average_after": os.getloadavg()[0]}
        print(f"load average before {before:.2f}, after {load['load_average_after']:.2f}")
        yield name, {"rows": found.rows, **load}, found.targets


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=router_relay.writable, help="write all figures here, as JSON")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    group = parser.add_argument_group("split")
    group.add_argument("--sides", nargs="+", type=int, default=[64, 128, 256, 512])
    group.add_argument("--steps", type=int, default=28)
    group.add_argument("--rounds", type=int, default=5)
    group.add_argument("--threads", type=int, default=1, help="of a call, on both sides")
    group.add_argument("--wider", type=int, default=2, help="threads of a second monolith; 0: none")
    group.add_argument("--size", default="small", help="of the model: small or tiny")
    group = parser.add_argument_group("hops")
    group.add_argument("--hop-rounds", type=int, default=30)
    group = parser.add_argument_group("router")
    group.add_argument("--router-seconds", type=float, default=10.0)
    group.add_argument("--router-rounds", type=int, default=2)
    return parser.parse_args()


def main() -> int:
    """Measure, print, write; 1 where `--check` finds a target missed."""
    args = arguments()
    report: dict[str, Any] = {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
    }
    targets: list[Target] = []
    for name, found, more in sections(args):
        report[name] = found
        targets += more
    print()
    for target in targets:
        sign = "reached" if target.reached else "MISSED"
        print(f"{target.what:>55}: {target.ratio:6.3f}, to reach {target.limit:4.2f}: {sign}")
    report["targets"] = [asdict(target) | {"reached": target.reached} for target in targets]
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    return int(args.check and not all(target.reached for target in targets))


if __name__ == "__main__":
    sys.exit(main())
