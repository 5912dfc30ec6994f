"""Whatever policy ships, in small worlds of every kind: all ends once, nothing is impossible."""

from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.profiles import Profile
from tridentserve.manifest.profile_files import builtin
from tridentserve.planner.registry import DISPATCH_POLICIES, PLACEMENT_POLICIES
from tridentserve.sim.experiment import experiment_of
from tridentserve.sim.results import Outcome, Result
from tridentserve.sim.run import simulate
from tridentserve.sim.scenario import Scenario

REQUESTS = 30
SHAPES = {
    "cogvideox": ["768x432x17", "768x1360x33", "768x1360x81"],
    "flux": ["128x128", "512x512", "1024x1024", "2048x2048"],
    "hunyuanvideo": ["960x544x17", "720x1280x33"],
    "sd3": ["128x128", "512x512", "1024x1024"],
}
POOLS = (
    [
        {"stages": ["encode"], "devices": 1, "workers": 1},
        {"stages": ["diffuse", "decode"], "devices": 2, "workers": 1},
        {"stages": ["encode", "diffuse", "decode"], "devices": 1, "workers": 1},
    ],
    [
        {"stages": ["encode", "decode"], "devices": 1, "workers": 2},
        {"stages": ["diffuse"], "devices": 2, "workers": 1},
    ],
)


@cache
def truth(name: str) -> Profile:
    """Profiles take a while to read."""
    return builtin(name)


def world(rng: Random, dispatch: str, placement: dict[str, Any]) -> Scenario:
    """Two or three nodes, a handful of classes, luck, lies and losses."""
    name = rng.choice(sorted(SHAPES))
    nodes = rng.choice([2, 3])
    at_s = rng.uniform(5.0, 100.0)
    back_s = at_s + rng.uniform(1.0, 80.0)
    failure: dict[str, Any] = {"node": rng.randrange(nodes), "at_s": at_s}
    failure |= {"back_s": back_s} if rng.random() < 0.7 else {}
    return Scenario.model_validate(
        {
            "name": "small",
            "seed": rng.randrange(10**6),
            "duration_s": 120.0,
            "drain_s": rng.choice([50.0, 2000.0]),
            "cluster": {"nodes": nodes, "devices_per_node": 4},
            "profile": {"name": name},
            "workload": {
                "shapes": rng.sample(SHAPES[name], rng.randint(1, len(SHAPES[name]))),
                "steps": rng.choice([1, 4, 20]),
                "load": rng.choice([0.3, 0.8, 1.5]),
                "process": rng.choice(["Poisson", "Gamma", "Constant"]),
            },
            "deadline": [{"rule": "2.5x"}, {"rule": rng.choice(["1.5x", "4.4x+2s"])}],
            "dispatch": dispatch,
            "placement": placement,
            "batch": rng.choice([1, 1, 4]),
            "batch_wait_s": rng.choice([0.0, 0.5]),
            "world": {
                "misprofile": rng.choice([0.0, 0.5]),
                "noise": rng.choice([0.0, 0.4]),
                "first_shapes": rng.random() < 0.3,
                "prepared_groups": rng.random() < 0.5,
                "store": rng.choice(["redis", "nccl"]),
            },
            "failures": [failure] if rng.random() < 0.6 else [],
        }
    )


def audited(given_world: Scenario) -> Result:
    """The result of a run, which adds up."""
    experiment = experiment_of(given_world, truth(str(given_world.profile.name)))
    experiment = replace(experiment, asks=experiment.asks[:REQUESTS])
    result = simulate(experiment)
    assert not result.decisions.impossible
    assert len({one.id for one in result.records}) == len(result.records) == len(experiment.asks)
    for one in result.records:
        assert (one.ended_s is None) == (one.outcome is Outcome.UNFINISHED)
        ended_s = result.ended_s if one.ended_s is None else one.ended_s
        spent_s = sum(one.waited_s) + sum(one.ran_s)
        assert spent_s == pytest.approx(ended_s - one.arrived_s, abs=1e-6)
    usage = result.usage
    assert usage.overhead + sum(work for _, work in usage.work) <= usage.held + 1e-3
    return result


@pytest.mark.parametrize("name", DISPATCH_POLICIES)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_dispatch_policy_copes_with_every_world(name: str, seed: int) -> None:
    rng = Random(seed)
    pools = {"pools": rng.choice(POOLS)}
    audited(world(rng, name, rng.choice([{"plan": "Colocated"}, pools])))


@pytest.mark.parametrize("name", PLACEMENT_POLICIES)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_placement_policy_copes_with_every_world(name: str, seed: int) -> None:
    rng = Random(seed)
    placement = {
        "planner": name,
        "interval_s": rng.choice([10.0, 30.0]),
        "window_s": rng.choice([30.0, 120.0]),
        "start": rng.choice(["Pod", "Residency"]),
        "drain_s": rng.choice([5.0, 600.0]),
        "stages": {"diffuse": {"devices": rng.choice([1, 2, 4]), "max": rng.choice([2, 50])}},
    }
    audited(world(rng, rng.choice(["DeadlineAware", "EarliestDeadline", "Fifo"]), placement))
