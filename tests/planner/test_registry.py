"""One registry for operator, router and simulator; what is not offered is refused by name."""

import sys

import pytest
from tests.sim.worlds import profile, scenario

import tridentserve_operator.decide
import tridentserve_router.dispatcher
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.v1alpha1 import parse
from tridentserve.planner import registry
from tridentserve.planner.cost import CostModel
from tridentserve.sim.experiment import experiment_of
from tridentserve.sim.files import YamlFile
from tridentserve.sim.reading import scenario_of
from tridentserve_operator.testing import pipeline_body

POLICIES = [
    *(("placement", name) for name in registry.PLACEMENT_POLICIES),
    *(("dispatch", name) for name in registry.DISPATCH_POLICIES),
]
OFFERED = {"placement": registry.PLACEMENT_NAMES, "dispatch": registry.DISPATCH_NAMES}
SOLVING = [("placement.planner", "placement: {planner: Joint}"), ("dispatch", "dispatch: Ilp")]


def test_operator_and_router_ask_the_registry() -> None:
    operator, router = vars(tridentserve_operator.decide), vars(tridentserve_router.dispatcher)

    assert operator["placement_planner"] is registry.placement_planner
    assert router["dispatch_planner"] is registry.dispatch_planner


@pytest.mark.parametrize("name", registry.PLACEMENT_POLICIES)
def test_the_simulator_places_by_the_planner_of_the_registry(name: str) -> None:
    given = experiment_of(scenario(placement={"planner": name}), profile(), ())

    assert given.placement is not None
    assert type(given.placement()) is type(registry.placement_planner(name))


@pytest.mark.parametrize("name", registry.DISPATCH_POLICIES)
def test_the_simulator_dispatches_by_the_planner_of_the_registry(name: str) -> None:
    given, cost = experiment_of(scenario(dispatch=name), profile(), ()), CostModel()

    assert type(given.dispatch(cost)) is type(registry.dispatch_planner(name, cost))


@pytest.mark.parametrize(("kind", "name"), POLICIES)
def test_a_resource_names_what_is_offered_and_is_refused_by_field_for_the_rest(
    kind: str, name: str
) -> None:
    body = pipeline_body(planner={kind: name})
    if name in OFFERED[kind]:
        assert getattr(parse(body).spec.planner, kind) == name
        return
    with pytest.raises(InvalidFieldError) as refused:
        parse(body)

    assert refused.value.field == f"spec.planner.{kind}"
    assert all(offered in refused.value.problem for offered in OFFERED[kind])


@pytest.mark.parametrize("name", registry.PLACEMENT_POLICIES)
def test_every_placement_planner_can_be_made_by_its_name(name: str) -> None:
    assert type(registry.placement_planner(name)).__name__ == name


def test_no_planner_of_a_name_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"no placement planner 'Magic'.*Proportional.*Joint"):
        registry.placement_planner("Magic")
    with pytest.raises(ValueError, match=r"no dispatch planner 'Magic'.*Fifo.*Ilp"):
        registry.dispatch_planner("Magic", CostModel())


@pytest.mark.parametrize(("field", "line"), SOLVING)
def test_without_a_solver_a_scenario_is_refused_at_the_planner_that_needs_it(
    field: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"name: x\nprofile: {{name: flux}}\nworkload: {{trace: flux}}\n{line}\n"
    scenario_of(YamlFile(text, "s.yaml"))
    monkeypatch.setitem(sys.modules, "highspy", None)

    with pytest.raises(InvalidFieldError) as refused:
        scenario_of(YamlFile(text, "s.yaml"))

    assert refused.value.field == f"s.yaml:4: {field}"
    assert "needs the solver HiGHS (highspy): install tridentserve[sim]" in refused.value.problem


@pytest.mark.parametrize("kind", ["placement", "dispatch"])
def test_what_a_resource_may_name_needs_no_solver(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)

    for name in OFFERED[kind]:
        if kind == "placement":
            registry.placement_planner(name)
        else:
            registry.dispatch_planner(name, CostModel())
