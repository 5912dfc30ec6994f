"""From `kubectl apply` to a picture that is, bit for bit, what the monolith makes."""

from pathlib import Path
from typing import Any

import pytest
from tests.e2e.drawing import monolith, pixels
from tests.e2e.pipelines import Pipeline

from tridentserve.client import Request

pytestmark = pytest.mark.models
JOBS: list[dict[str, Any]] = [
    {"prompt": "a red circle", "height": 64, "width": 64, "steps": 3, "guidance": 5.0, "seed": 1},
    {"prompt": "a blue square", "height": 128, "width": 64, "steps": 4, "guidance": 3.5, "seed": 2},
]


def served(pipeline: Pipeline) -> list[bytes]:
    results = [pipeline.generate(Request(**job)) for job in JOBS]
    assert all(
        result.finished.seed == job["seed"] for result, job in zip(results, JOBS, strict=True)
    )
    return [pixels(result.media[0]) for result in results]


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_a_served_picture_equals_the_monoliths_to_the_last_bit(
    pipeline: Pipeline, models: Path, tmp_path: Path, family: str
) -> None:
    pipeline.apply(models / family)
    pipeline.wait("Ready")

    assert served(pipeline) == monolith(models / family, JOBS, tmp_path)


def test_deleting_a_pipeline_leaves_nothing_of_it(pipeline: Pipeline, models: Path) -> None:
    pipeline.apply(models / "synthetic")
    pipeline.wait("Ready")
    pipeline.generate(Request(prompt="x", seed=1))
    kinds = "deployments,pods,services,serviceaccounts,rolebindings"
    before = pipeline.objects(kinds)
    assert {name.split("/")[0] for name in before} >= {"deployment.apps", "pod", "service"}

    pipeline.delete()

    pipeline.eventually_gone(kinds)
