"""What a user does to a pipeline that is being used: edit, upgrade, suspend, resume."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.asking import Asking, drawn
from tests.e2e.history import History
from tests.e2e.load import Load
from tests.e2e.pipelines import Pipeline, synthetic_model

from tridentserve.client import Accepted, Event, Request
from tridentserve.domain.names import LABEL_DRAINING, LABEL_REVISION
from tridentserve.errors import InvalidFieldError
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import create_namespace, delete_namespace, eventually

SECONDS = {"encode": 0.005, "diffusePerStep": 0.02, "decode": 0.005}
SMALL = {"encode": 4096, "diffuse": 4096}
STATIC: dict[str, Any] = {"planner": {"placement": "Static"}, "drainSeconds": 20}


@pytest.fixture(scope="module")
def quick(models: Path) -> Path:
    return synthetic_model(models, seconds=SECONDS, handoffBytes=SMALL)


@pytest.fixture(scope="module")
def newer(models: Path) -> Path:
    """As `quick`, with other content and so another digest."""
    return synthetic_model(models, seconds=SECONDS, handoffBytes=SMALL | {"encode": 4097})


def revisions(pipeline: Pipeline) -> set[str]:
    labels = (pod["metadata"]["labels"] for pod in pipeline.pods())
    return {found[LABEL_REVISION] for found in labels if LABEL_REVISION in found}


def router_pod(pipeline: Pipeline) -> tuple[str, int]:
    """Which router it is: uid of its pod, and how often it was started again."""
    (pod,) = pipeline.pods("router")
    (container,) = pod["status"]["containerStatuses"]
    return pod["metadata"]["uid"], container["restartCount"]


@pytest.mark.load
def test_new_revisions_under_load_lose_no_request_and_mix_no_content(
    pipeline: Pipeline, quick: Path, newer: Path
) -> None:
    two = {"stages": {"diffuse": {"replicas": {"min": 2}}}, **STATIC}
    pipeline.apply(quick, **two)
    pipeline.wait("Ready")
    first = revisions(pipeline)
    with History(pipeline) as history, Load(pipeline.endpoint(), rate=8.0) as load:
        eventually(lambda: load.served >= 4)
        pipeline.apply(newer, **two)
        history.eventually(lambda seen: len(seen.pools()) == 6, "pools of both revisions")
        history.eventually(lambda seen: len(seen.pools()) == 3, "the end of the old pools")
        second = revisions(pipeline)
        done = load.sent

        # Another template of the same model, as a new image would be.
        template = {"env": [{"name": "NEWER", "value": "1"}]}
        stages = {"diffuse": {"replicas": {"min": 2}, "template": template}}
        pipeline.apply(newer, **two | {"stages": stages})
        history.eventually(lambda seen: len(seen.pools()) == 6, "pools of both revisions")
        history.eventually(lambda seen: len(seen.pools()) == 3, "the end of the old pools")
        pipeline.wait("Ready")

    assert history.gaps == []
    assert len({*first, *second, *revisions(pipeline)}) == 3
    outcomes = load.assert_nothing_lost([quick, newer])
    before, after = outcomes[0].digest, outcomes[-1].digest
    assert before != after
    assert {one.digest for one in outcomes if one.number > done} == {after}


def test_what_the_router_watches_is_obeyed_without_a_restart_of_it(
    pipeline: Pipeline, quick: Path
) -> None:
    pipeline.apply(quick, **STATIC)
    pipeline.wait("Ready")
    asked = Request(prompt="x", seed=1, steps=8, deadline_s=None)
    deadlines: list[float] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Accepted) and event.deadline_s is not None:
            deadlines.append(event.deadline_s - time.time())

    pipeline.generate(asked)
    pipeline.generate(asked, on_event=on_event)
    before = router_pod(pipeline)

    edited = {
        **STATIC,
        "limits": {"maxSteps": 8},
        "slo": {"scalePercent": 100000},
        "planner": {"placement": "Static", "dispatch": "Fifo"},
    }
    pipeline.apply(quick, **edited)

    eventually(lambda: is_refused(pipeline, "steps", steps=9), what="the new limit")
    pipeline.generate(asked, on_event=on_event)
    assert deadlines[-1] > 10 * deadlines[0]
    pipeline.wait("Ready")
    assert router_pod(pipeline) == before


def is_refused(pipeline: Pipeline, field: str, **changes: Any) -> bool:
    try:
        pipeline.generate(Request(prompt="x", seed=1, **changes))
    except InvalidFieldError as error:
        return error.field == field
    return False


def test_a_request_to_a_suspended_pipeline_waits_until_it_is_resumed(
    pipeline: Pipeline, quick: Path
) -> None:
    pipeline.apply(quick, **STATIC)
    pipeline.wait("Ready")
    before = router_pod(pipeline)
    pipeline.apply(quick, suspend=True, **STATIC)
    eventually(lambda: len(pipeline.pods()) == 1, what="the end of all workers")
    assert pipeline.condition("Ready")["reason"] == "Suspended"
    assert pipeline.condition("Available")["status"] == "False"

    with Load(pipeline.endpoint(), rate=5.0) as load:
        eventually(lambda: load.sent >= 5)
        load.rate = 0.0
        assert load.outcomes == []
        pipeline.apply(quick, suspend=False, **STATIC)
        pipeline.wait("Ready")

    load.assert_nothing_lost([quick])
    assert router_pod(pipeline) == before


def test_a_request_that_runs_while_its_pipeline_is_suspended_is_finished(
    pipeline: Pipeline, models: Path
) -> None:
    # 10 s of diffusion, in the middle of which the first of its workers is told to go.
    slow = synthetic_model(models, seconds=SECONDS | {"diffusePerStep": 0.1}, handoffBytes=SMALL)
    patient = STATIC | {"drainSeconds": 60}
    pipeline.apply(slow, **patient)
    pipeline.wait("Ready")
    request = Request(prompt="x", seed=1, steps=100)
    ask = Asking(pipeline, request)
    ask.stepped(1)

    pipeline.apply(slow, suspend=True, **patient)
    eventually(lambda: is_draining(pipeline, "encode"), what="the drain of its encoder")
    assert ask.running

    assert ask.result().media == drawn(slow, request)
    eventually(lambda: len(pipeline.pods()) == 1, what="the end of all workers")


def is_draining(pipeline: Pipeline, stage: str) -> bool:
    return all(LABEL_DRAINING in pod["metadata"]["labels"] for pod in pipeline.pods(stage))


@pytest.fixture
def second_pipeline(local_cluster: LocalCluster, pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline of the same name in another namespace."""
    namespace = f"{pipeline.namespace}-b"
    create_namespace(local_cluster, namespace)
    second = Pipeline(cluster=local_cluster, namespace=namespace, name=pipeline.name)
    yield second
    second.delete()
    delete_namespace(local_cluster, namespace)


@pytest.mark.load
def test_pipelines_of_one_name_in_two_namespaces_do_not_meet(
    pipeline: Pipeline, second_pipeline: Pipeline, quick: Path, newer: Path
) -> None:
    pipeline.apply(quick, **STATIC)
    second_pipeline.apply(newer, **STATIC)
    pipeline.wait("Ready")
    second_pipeline.wait("Ready")
    with (
        Load(pipeline.endpoint(), rate=5.0) as one,
        Load(second_pipeline.endpoint(), rate=5.0) as other,
    ):
        eventually(lambda: min(one.served, other.served) >= 10)
        other.rate = 0.0
        eventually(lambda: len(other.outcomes) == other.sent)
        second_pipeline.delete()
        second_pipeline.eventually_gone("deployments,pods,services")
        served = one.served
        eventually(lambda: one.served >= served + 5)

    one.assert_nothing_lost([quick])
    other.assert_nothing_lost([newer])
    assert pipeline.condition("Ready")["status"] == "True"
