"""What a request costs through the cluster, in units of the same request in one process.

A local cluster with the charts, and on it two pipelines of one model: one hands tensors over by
Redis, as by default, the other by shared memory. Beside it, each in a process of its own, the
pipeline of diffusers with as many threads as a worker has, and with more. All draw the same jobs in
turns, round by round, so that other load meets all alike; nothing else is asked of the cluster
meanwhile, but it polls and scrapes as it always does, while the monolith runs too. A picture that
is not byte for byte the monolith's ends the benchmark.

Seconds of the split are those of the client: from the call to the last byte. Those of the monolith
are taken inside of its process, from the prompt to the PNG. Processor seconds are those of the
pipeline's pods, router and polls included, and those of the monolith's process: they compare also
where others keep the cores busy.
"""

import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tridentserve.client import GenerationClient, Request, Result
from tridentserve.client.finding import find_endpoint
from tridentserve.domain.stages import Stage
from tridentserve.families.command import build
from tridentserve_local import product
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.settings import ClusterSettings
from tridentserve_local.testing import apply, create_namespace

MONOLITH = Path(__file__).with_name("monolith.py")
PIPELINE = "split"
NAMESPACES = {"redis": "split-redis", "shm": "split-shm"}
"""A namespace for each way of handing over; pods of the second one may share memory."""
UNIT, WIDER = "monolith", "monolith, more threads"
GUIDANCE = 5.0
_LOADED_S = 300
_REQUEST_S = 600.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is drawn."""

    side: int
    steps: int
    seed: int

    def arguments(self) -> dict[str, Any]:
        """As the client and the monolith take them."""
        return {
            "prompt": "a lighthouse in a storm, oil on canvas",
            "height": self.side,
            "width": self.side,
            "steps": self.steps,
            "guidance": GUIDANCE,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One picture: how long it took, and what of that was what."""

    seconds: float
    cpu_s: float
    """Processor time of all processes that took part."""
    parts: Mapping[str, float]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One system at one size."""

    side: int
    steps: int
    system: str
    seconds: tuple[float, ...]
    cpu_s: tuple[float, ...]
    parts: Mapping[str, float]
    """Median seconds of each part."""

    @property
    def median_s(self) -> float:
        """Half of the rounds took longer."""
        return statistics.median(self.seconds)


def ratio(row: Row, unit: Row) -> float:
    """Median of the ratios round by round: the load that meets both of a round cancels out."""
    return _ratio(row.seconds, unit.seconds)


def cpu_ratio(row: Row, unit: Row) -> float:
    """The same of processor time."""
    return _ratio(row.cpu_s, unit.cpu_s)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A pipeline that is ready."""

    store: str
    endpoint: str
    pids: tuple[int, ...]
    """Of its router and its workers."""


# --- the two sides --------------------------------------------------------------------------------


class Monolith:
    """diffusers in a process of its own."""

    def __init__(self, stack: ExitStack, model: Path, threads: int) -> None:
        """Start it, and wait until it has loaded; it ends with the stack."""
        self._process = subprocess.Popen(
            [sys.executable, str(MONOLITH), str(model), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._process.wait)
        assert self._process.stdin is not None
        stack.callback(self._process.stdin.close)
        self._answer()

    def draw(self, job: Job) -> Drawn:
        """One picture."""
        assert self._process.stdin is not None
        print(json.dumps(job.arguments()), file=self._process.stdin, flush=True)
        said = self._answer()
        parts = dict(said["parts"])
        parts["diffuse"] = said["seconds"] - sum(parts.values())
        parts["decode"] = parts.pop("vae") + parts.pop("png")
        parts["waited for a core"] = max(0.0, said["seconds"] - said["cpu_s"])
        return Drawn(
            seconds=said["seconds"], cpu_s=said["cpu_s"], parts=parts, sha256=said["sha256"]
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the monolith ended; see above")
        said: dict[str, Any] = json.loads(line)
        return said


class Split:
    """A pipeline on the cluster."""

    def __init__(self, stack: ExitStack, runner: asyncio.Runner, at: Served) -> None:
        """Connect; the connection ends with the stack."""
        self._runner, self._at = runner, at
        self._client = runner.run(_connect(at.endpoint))
        stack.callback(lambda: runner.run(self._client.close()))

    def draw(self, job: Job) -> Drawn:
        """One picture."""
        request = Request(**job.arguments())
        begun_cpu_s, begun = self._cpu_s(), time.perf_counter()
        result = self._runner.run(self._client.generate(request, timeout_s=_REQUEST_S))
        seconds = time.perf_counter() - begun
        self._check(result)
        (file,) = result.media
        return Drawn(
            seconds=seconds,
            cpu_s=self._cpu_s() - begun_cpu_s,
            parts=_parts(result, seconds),
            sha256=hashlib.sha256(file).hexdigest(),
        )

    def _cpu_s(self) -> float:
        stats = (Path(f"/proc/{pid}/stat").read_text() for pid in self._at.pids)
        fields = (stat.rsplit(")", 1)[1].split() for stat in stats)
        return sum(int(field[11]) + int(field[12]) for field in fields) / _TICKS_PER_S

    def _check(self, result: Result) -> None:
        hops = {one.input_store for one in result.finished.timings} - {""}
        if hops != {self._at.store} or any(one.attempts != 1 for one in result.finished.timings):
            raise SystemExit(f"expected one attempt by {self._at.store}: {result.finished.timings}")


def _parts(result: Result, seconds: float) -> dict[str, float]:
    timings = result.finished.timings
    parts = {str(one.stage): one.run_s for one in timings}
    parts["wait"] = sum(one.wait_s for one in timings)
    parts["queue"] = sum(one.queue_s for one in timings)
    parts["fetch"] = sum(one.fetch_s for one in timings)
    parts["put"] = sum(one.put_s for one in timings)
    return parts | {"rest": seconds - sum(parts.values())}


async def _connect(endpoint: str) -> GenerationClient:
    return GenerationClient(endpoint)


# --- the cluster ----------------------------------------------------------------------------------


def pipeline(model: Path) -> dict[str, Any]:
    """One worker a stage, whatever the load."""
    return {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"name": PIPELINE},
        "spec": {
            "model": {"uri": f"file://{model}", "dtype": "float32"},
            "stages": {str(stage): {"replicas": {"min": 1, "max": 1}} for stage in Stage},
            "planner": {"placement": "Static"},
        },
    }


@contextmanager
def cluster_with(model: Path, threads: int) -> Iterator[list[Served]]:
    """Both pipelines, ready."""
    settings = ClusterSettings(nodes=1, cpus=16 * threads, memory_gib=64)
    shared = NAMESPACES["shm"]
    with LocalCluster(settings=settings, progress=_say) as cluster:
        product.install(
            cluster,
            file_roots=[model.parent],
            shared_memory_namespaces=[shared],
            values={"cpu": {"unit": str(threads)}},
        )
        for namespace in NAMESPACES.values():
            level = "privileged" if namespace == shared else "restricted"
            create_namespace(cluster, namespace, security=level)
            apply(cluster, pipeline(model), namespace=namespace)
        yield [_ready(cluster, store, namespace) for store, namespace in NAMESPACES.items()]


def _ready(cluster: LocalCluster, store: str, namespace: str) -> Served:
    ready = ("wait", "--for=condition=Ready", f"dp/{PIPELINE}", f"--timeout={_LOADED_S}s")
    cluster.kubectl("-n", namespace, *ready)
    kubeconfig = str(cluster.kubeconfig)
    endpoint = find_endpoint(pipeline=PIPELINE, namespace=namespace, kubeconfig=kubeconfig)
    pids = tuple(cluster.processes(namespace))
    return Served(store=store, endpoint=asyncio.run(endpoint), pids=pids)


def _say(what: str, seconds: float) -> None:
    print(f"  {what} is up after {seconds:.1f} s", file=sys.stderr, flush=True)


# --- measuring ------------------------------------------------------------------------------------

System = Monolith | Split


def measure(systems: Mapping[str, System], side: int, steps: int, rounds: int) -> list[Row]:
    """All systems in turns at one size, the first turn thrown away; who begins changes."""
    names = list(systems)
    drawn: dict[str, list[Drawn]] = {name: [] for name in names}
    for number in range(rounds + 1):
        job = Job(side=side, steps=steps, seed=number)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            drawn[name].append(systems[name].draw(job))
        # Other thread counts add numbers in another order.
        pictures = {found[-1].sha256 for name, found in drawn.items() if name != WIDER}
        if len(pictures) != 1:
            raise SystemExit(f"{job}: the pictures differ")
    return [_row(side, steps, name, found[1:]) for name, found in drawn.items()]


def _row(side: int, steps: int, system: str, drawn: Sequence[Drawn]) -> Row:
    return Row(
        side=side,
        steps=steps,
        system=system,
        seconds=tuple(one.seconds for one in drawn),
        cpu_s=tuple(one.cpu_s for one in drawn),
        parts={
            part: statistics.median(one.parts[part] for one in drawn) for part in drawn[0].parts
        },
    )


def run(
    folder: Path,
    *,
    sides: Sequence[int],
    steps: int,
    rounds: int,
    threads: int,
    wider: int,
    size: str,
) -> Iterator[list[Row]]:
    """Measure; the rows of one size after the other. `folder` is for the model.

    `wider` is how many threads a second monolith has; 0 leaves it out.
    """
    model = folder / "sd3"
    build(model, family="sd3", size=size)
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        found = stack.enter_context(cluster_with(model, threads))
        systems: dict[str, System] = {UNIT: Monolith(stack, model, threads)}
        for one in found:
            systems[one.store] = Split(stack, runner, one)
        if wider:
            systems[WIDER] = Monolith(stack, model, wider)
        for side in sides:
            yield measure(systems, side, steps, rounds)
