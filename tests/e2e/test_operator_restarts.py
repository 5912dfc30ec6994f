"""The operator dies after each step of a transition, seen by what the step did to the cluster.

The steps, in order (`planner.transitions`): new pools surge; their workers become routable; old
ones are labelled as draining; their Deployments shrink; they are removed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.history import History, is_draining, is_ending, is_ready
from tests.e2e.load import Load
from tests.e2e.pipelines import Pipeline, synthetic_model

from tridentserve.domain.names import LABEL_FRACTION, LABEL_REVISION, LABEL_STAGES
from tridentserve_local import product
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import eventually, get

pytestmark = pytest.mark.load

Json = dict[str, Any]
Seen = Callable[[History], bool]
STATIC: Json = {"planner": {"placement": "Static"}, "drainSeconds": 20}


@pytest.fixture(scope="module")
def models_of_two(models: Path) -> tuple[Path, Path]:
    seconds = {"encode": 0.005, "diffusePerStep": 0.01, "decode": 0.005}
    small = {"encode": 4096, "diffuse": 4096}
    return (
        synthetic_model(models, seconds=seconds, handoffBytes=small),
        synthetic_model(models, seconds=seconds, handoffBytes=small | {"encode": 4097}),
    )


def spec(fraction_percent: int = 100) -> Json:
    diffuse = {"replicas": {"min": 2}, "gpu": {"fractionsPercent": [fraction_percent]}}
    return {"stages": {"diffuse": diffuse}, **STATIC}


def kill_operator(cluster: LocalCluster) -> None:
    """SIGKILL, and a new pod in its place; returns while there is none that works."""
    for pod in get(cluster, product.NAMESPACE, "pods")["items"]:
        name = pod["metadata"]["name"]
        if not is_ending(pod):
            cluster.kill_pod(product.NAMESPACE, name)
            # The pod would wait longer after each crash; a new one starts at once.
            end = ("--force", "--grace-period=0", "--wait=false")
            cluster.kubectl("-n", product.NAMESPACE, "delete", "pod", name, *end)


def belongs(body: Json, to: dict[str, str]) -> bool:
    return all(body["metadata"]["labels"].get(label) == value for label, value in to.items())


def steps(old: dict[str, str], new: dict[str, str]) -> dict[str, Seen]:
    """What can be seen of each step of the way from pools with these labels to those."""

    def pods(seen: History, labels: dict[str, str]) -> list[Json]:
        return [pod for pod in seen.pods.values() if belongs(pod, labels)]

    def pools(seen: History, labels: dict[str, str]) -> list[Json]:
        return [pool for pool in seen.pools().values() if belongs(pool, labels)]

    return {
        "surged": lambda seen: bool(pools(seen, new)),
        "routable": lambda seen: any(is_ready(pod) for pod in pods(seen, new)),
        "draining": lambda seen: any(is_draining(pod) for pod in pods(seen, old)),
        "shrunk": lambda seen: any(pool["spec"]["replicas"] == 0 for pool in pools(seen, old)),
        "removed": lambda seen: not pools(seen, old) and not pods(seen, old),
    }


def walk_with_kills(
    pipeline: Pipeline, history: History, seen: dict[str, Seen], change: Callable[[], None]
) -> None:
    change()
    for name, effect in seen.items():
        history.eventually(effect, name)
        kill_operator(pipeline.cluster)
    pipeline.wait("Ready")


def labels_of(pipeline: Pipeline, stage: str) -> dict[str, str]:
    (labels, *_) = [pod["metadata"]["labels"] for pod in pipeline.pods(stage)]
    return {one: labels[one] for one in (LABEL_REVISION, LABEL_STAGES, LABEL_FRACTION)}


def test_a_change_of_fraction_survives_the_death_of_the_operator_after_each_step(
    pipeline: Pipeline, models_of_two: tuple[Path, Path]
) -> None:
    model, _ = models_of_two
    pipeline.apply(model, **spec(100))
    pipeline.wait("Ready")
    old = labels_of(pipeline, "diffuse")
    seen = steps(old, old | {LABEL_FRACTION: "50"})
    with History(pipeline) as history, Load(pipeline.endpoint(), rate=4.0) as load:
        eventually(lambda: load.served >= 2)
        walk_with_kills(pipeline, history, seen, lambda: pipeline.apply(model, **spec(50)))

    assert history.gaps == []
    assert labels_of(pipeline, "diffuse") == old | {LABEL_FRACTION: "50"}
    assert sorted(len(pipeline.pods(one)) for one in ("encode", "diffuse", "decode")) == [1, 1, 2]
    load.assert_nothing_lost([model])


def test_a_new_revision_survives_the_death_of_the_operator_after_each_step_of_each_stage(
    pipeline: Pipeline, models_of_two: tuple[Path, Path]
) -> None:
    model, newer = models_of_two
    pipeline.apply(model, **spec())
    pipeline.wait("Ready")
    old = labels_of(pipeline, "diffuse")[LABEL_REVISION]
    with History(pipeline) as history, Load(pipeline.endpoint(), rate=4.0) as load:
        eventually(lambda: load.served >= 2)
        pipeline.apply(newer, **spec())
        history.eventually(lambda seen: len(seen.pools()) > len(seen.pools(old)), "surged")
        kill_operator(pipeline.cluster)
        for stage in ("encode", "diffuse", "decode"):
            labels = {LABEL_REVISION: old, LABEL_STAGES: stage}
            seen = steps(labels, {})
            for name in ("draining", "shrunk"):
                history.eventually(seen[name], f"{stage} {name}")
                kill_operator(pipeline.cluster)
        history.eventually(lambda seen: not seen.pools(old), "the end of the old pools")
        pipeline.wait("Ready")

    assert history.gaps == []
    outcomes = load.assert_nothing_lost([model, newer])
    assert outcomes[0].digest != outcomes[-1].digest
