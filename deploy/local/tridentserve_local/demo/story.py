"""The demo from beginning to end; what is promised is checked, and decides the exit status."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tridentserve.client import Finished
from tridentserve.client.finding import find_endpoint
from tridentserve.errors import TridentServeError
from tridentserve.stage.synthetic import read_model
from tridentserve_local import product
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.processes import is_zombie, marked
from tridentserve_local.settings import ClusterSettings

from . import folders, load, pictures, promises, resources, tables, watching
from .jobs import JOBS, SHOWN
from .kept import KeptCluster, is_up, refuse_second
from .monolith import Monolith, differing
from .narrator import Narrator
from .plans import PlanSeen
from .promises import LoadOutcome, Promise

QUIET_PER_S, BUSY_PER_S = 0.5, 5.0
_SETTLES_WITHIN_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line says."""

    output: Path
    keep: bool
    name: str
    """Of the cluster that is kept."""


def run(choices: Choices, narrator: Narrator) -> int:
    """Tell the whole story; 0 if every promise was kept, 1 if not.

    Raises:
        ClusterError: the cluster did not come up, or one of its name runs already.
        DemoError: another demo writes to the same folder, or the model is not there.
        ToolMissingError: a program is not to be had.
    """
    if choices.keep:
        refuse_second(choices.name)

    def stays() -> bool:
        return choices.keep and is_up(choices.name)

    with (
        _sigterm_is_an_exit(),
        folders.emptied(choices.output),
        folders.models(stay=stays) as models,
    ):
        kept = _tell(narrator, choices, models)
    narrator.chapter("What was promised")
    narrator.say("\n".join(promise.line for promise in kept))
    narrator.say(f"\nAfter {narrator.seconds:.0f} s: {_verdict(kept)}")
    return 0 if all(promise.holds for promise in kept) else 1


def _tell(narrator: Narrator, choices: Choices, models: Path) -> list[Promise]:
    kept: list[Promise] = []
    finished: Sequence[Finished] = ()
    narrator.chapter("A Kubernetes cluster with two nodes; beside it, diffusers alone")
    narrator.say(f"model: {folders.SHAPES}, copied to {models / 'shapes'}")
    with (
        Monolith(models / "shapes", choices.output / folders.MONOLITH, JOBS, narrator) as monolith,
        _cluster(choices, narrator) as cluster,
    ):
        try:
            _install(cluster, models, narrator)
            finished = _pictures(cluster, models / "shapes", choices.output, narrator)
            kept += _compared(finished, monolith, choices.output, narrator)
            kept += _load(cluster, models / "synthetic", narrator)
        except TridentServeError as error:
            narrator.say(f"\nFAILED: {error}")
            kept.append(Promise(claim="the demo gets to its end", holds=False, found=str(error)))
        except (KeyboardInterrupt, SystemExit):
            if choices.keep:
                narrator.say(_where_next(cluster, choices, models))
            raise
        finally:
            # Logs of pods that are just going may vanish under the copy; the others are there.
            with suppress(shutil.Error):
                cluster.keep_logs(choices.output / folders.LOGS)
        if finished:
            narrator.chapter("Seconds of each picture, stage by stage")
            narrator.say(tables.seconds_table(JOBS, finished))
        narrator.chapter("Where to look next")
        narrator.say(_where_next(cluster, choices, models))
        memory = cluster.memory_folder
    if not choices.keep:
        kept.append(promises.of_the_end(_left(memory)))
    return kept


def _left(memory: Path) -> list[str]:
    """What there still is of a cluster: processes, and files in memory."""
    processes = [f"process {pid}" for pid in marked(f"{memory.name}/") if not is_zombie(pid)]
    return processes + [str(memory)] * memory.exists()


def _cluster(choices: Choices, narrator: Narrator) -> LocalCluster:
    def progress(what: str, seconds: float) -> None:
        narrator.say(f"{what}: up")

    settings = ClusterSettings(nodes=2)
    if choices.keep:
        return KeptCluster(choices.name, settings, progress)
    return LocalCluster(settings=settings, progress=progress)


def _install(cluster: LocalCluster, models: Path, narrator: Narrator) -> None:
    nodes = cluster.kubectl("get", "nodes", "--no-headers").splitlines()
    narrator.say(f"kubectl get nodes: {'; '.join(' '.join(node.split()[:2]) for node in nodes)}")
    narrator.chapter("Helm installs the definitions and the operator")
    product.install(cluster, file_roots=[models], shared_memory_namespaces=[resources.NAMESPACE])
    listed = product.helm(cluster, "list", "--short").split()
    narrator.say(f"helm list: {', '.join(listed)}; the operator is ready")
    cluster.kubectl("apply", "-f", "-", stdin=resources.namespace())


def _pictures(
    cluster: LocalCluster, model: Path, output: Path, narrator: Narrator
) -> Sequence[Finished]:
    narrator.chapter("A DiffusionPipeline is applied")
    watching.apply(cluster, resources.pictures_pipeline(model), narrator)
    watching.wait_until_ready(cluster, resources.PICTURES, narrator)
    narrator.chapter(f"{len(JOBS)} prompts at once, through the router")
    endpoint = _endpoint(cluster, resources.PICTURES)
    finished, first_s = asyncio.run(pictures.draw(endpoint, JOBS, output, narrator))
    narrator.say(f"The first picture was there after {first_s:.1f} s.")
    pictures.write_sheet(output / folders.SHEET, JOBS, finished, output)
    narrator.say(f"All of them on one sheet: {output / folders.SHEET}")
    narrator.say("\nThe way of the tensors:\n" + tables.hops_table(JOBS, finished))
    return finished


def _compared(
    finished: Sequence[Finished], monolith: Monolith, output: Path, narrator: Narrator
) -> tuple[Promise, ...]:
    monolith.wait_for_pictures()
    different = differing(JOBS, output, output / folders.MONOLITH)
    narrator.say(
        f"\n{len(JOBS) - len(different)} of {len(JOBS)} pictures equal those of diffusers'"
        " own pipeline, bit for bit."
    )
    return promises.of_pictures(len(JOBS), finished, different)


def _load(cluster: LocalCluster, model: Path, narrator: Narrator) -> tuple[Promise, ...]:
    narrator.chapter("Load: a second pipeline, whose workers wait as long as a model would compute")
    resources.write_synthetic(model)
    watching.apply(cluster, resources.load_pipeline(model), narrator)
    watching.wait_until_ready(cluster, resources.LOAD, narrator)
    source = load.Source(_endpoint(cluster, resources.LOAD), read_model(model))
    outcome = asyncio.run(_phases(cluster, source, narrator))
    plans = {
        f"before, {QUIET_PER_S:g}/s": outcome.before,
        f"under load, {BUSY_PER_S:g}/s": outcome.under,
        f"after, {QUIET_PER_S:g}/s": outcome.after,
    }
    narrator.say("\n" + tables.plans_table(plans))
    return promises.of_load(outcome)


async def _phases(cluster: LocalCluster, source: load.Source, narrator: Narrator) -> LoadOutcome:
    """Little, much and little again; nothing changes but the rate."""
    follower = load.Follower(cluster, source, narrator)

    async def phase(rate_per_s: float, until: load.Until) -> PlanSeen:
        narrator.say(f"-- {rate_per_s:g} requests/s")
        source.rate_per_s = rate_per_s
        return await follower.follow(until=until, within_s=_SETTLES_WITHIN_S)

    source.rate_per_s = QUIET_PER_S
    async with source.running():
        before = await phase(QUIET_PER_S, lambda plan: plan.arrivals_per_s is not None)
        under = await phase(BUSY_PER_S, lambda plan: plan.workers >= 3)
        after = await phase(QUIET_PER_S, lambda plan: plan.size == before.size)
    tally = source.tally
    narrator.say(f"Every request is answered for: {tally.right} of {tally.sent} are right.")
    return LoadOutcome(
        before=before,
        under=under,
        after=after,
        sent=tally.sent,
        right=tally.right,
        problems=tuple(tally.problems),
        rate_per_s=BUSY_PER_S,
    )


def _endpoint(cluster: LocalCluster, pipeline: str) -> str:
    return asyncio.run(
        find_endpoint(
            pipeline=pipeline,
            namespace=resources.NAMESPACE,
            kubeconfig=str(cluster.kubeconfig),
        )
    )


def _where_next(cluster: LocalCluster, choices: Choices, models: Path) -> str:
    rows = [
        [f"{choices.output}/{folders.SHEET}", "all pictures on one sheet, with their prompts"],
        [f"{choices.output}/*.png", "the pictures, as they were served"],
        [f"{choices.output}/{folders.MONOLITH}/*.png", "the same ones, by diffusers alone"],
        [f"{choices.output}/{folders.LOGS}/", "what each process said"],
        ["examples/, docs/", "pipelines to apply, and how it all works"],
        ["tridentserve local demo --keep", "the same, and the cluster stays"],
    ]
    lines = [tables.columns(rows[:-1] if choices.keep else rows)]
    if not choices.keep:
        return lines[0]
    where = f"-n {resources.NAMESPACE}"
    lines += [
        "",
        "The cluster runs on:",
        f"  export KUBECONFIG={cluster.kubeconfig}",
        f"  kubectl {where} get dp,deployments,pods",
        f"  kubectl {where} describe dp {resources.LOAD}",
        f"  .venv/bin/tridentserve generate {where} --pipeline {resources.PICTURES}"
        f" --prompt '{SHOWN.prompt}' --seed {SHOWN.seed} -o picture.png",
        f"  {cluster.prometheus_url}   Prometheus",
        "End it with:",
        f"  .venv/bin/tridentserve local down --name {choices.name}; rm -r {models}",
    ]
    return "\n".join(lines)


def _verdict(kept: list[Promise]) -> str:
    broken = [promise for promise in kept if not promise.holds]
    if broken:
        return f"NOT as promised: {'; '.join(promise.claim for promise in broken)}."
    return (
        "Proven: from kubectl apply to pictures that equal the monolith's bit for bit, tensors by"
        " shared memory and Redis, and a plan that follows the load with no request lost."
    )


@contextmanager
def _sigterm_is_an_exit() -> Iterator[None]:
    """Clean up after SIGTERM as after Ctrl-C, which raises by itself."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
