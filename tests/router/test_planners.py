"""Every dispatch planner that a DiffusionPipeline may name decides in the router."""

import pytest
from tests.router.conftest import PIPELINE, Town, opened, until
from tests.router.scripted import scripted_chain

import tridentserve_router.dispatcher
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.stages import STAGES
from tridentserve.manifest import v1alpha1
from tridentserve.planner.cost import CostModel
from tridentserve.planner.protocols import DispatchPlanner
from tridentserve.planner.registry import DISPATCH_NAMES, dispatch_planner


def spec_of(dispatch: str) -> PipelineSpec:
    """Of a resource that names a planner."""
    body = {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"namespace": "team", "name": "flux"},
        "spec": {"model": {"uri": "pvc://models/flux"}, "planner": {"dispatch": dispatch}},
    }
    return v1alpha1.parse(body).spec.to_domain(PIPELINE)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, CostModel]]:
    """Planners that the router had made, with the costs that each of them reads."""
    found: list[tuple[str, CostModel]] = []

    def make(name: str, cost: CostModel) -> DispatchPlanner:
        found.append((name, cost))
        return dispatch_planner(name, cost)

    monkeypatch.setattr(tridentserve_router.dispatcher, "dispatch_planner", make)
    return found


async def test_a_request_is_served_by_each_planner_that_a_resource_may_name_one_after_another(
    made: list[tuple[str, CostModel]],
) -> None:
    async with opened() as town, scripted_chain(town) as chain:
        for served, name in enumerate(DISPATCH_NAMES, start=1):
            await _use(town, name)
            result = await town.generate()

            assert (name, result.error) == (name, None)
            assert all(len(chain[stage].requests) == served for stage in STAGES)
        costs = town.router.core.cost

    assert [name for name, _ in made][-len(DISPATCH_NAMES) :] == list(DISPATCH_NAMES)
    assert all(cost is costs for _, cost in made)


async def _use(town: Town, dispatch: str) -> None:
    town.edit(dispatch=spec_of(dispatch).dispatch)
    await until(lambda: town.router.core.pipeline.spec.dispatch == dispatch)
