"""One worker that encodes, and that could diffuse as well: it has to go on encoding."""

import pytest
from tests.sim.worlds import STEPS, run, scenario

from tridentserve.planner.registry import DISPATCH_POLICIES
from tridentserve.sim.results import Outcome

DIFFUSE_S, LAST_ENCODES_S = 21.0, 4.0
POOLS = [
    {"stages": ["encode", "diffuse"], "devices": 1, "workers": 1},
    {"stages": ["diffuse"], "devices": 1, "workers": 7},
    {"stages": ["decode"], "devices": 2, "workers": 1},
]
STAGE_BY_STAGE = [
    name for name in DISPATCH_POLICIES if not name.startswith(("B1", "B2", "B3", "B4"))
]
"""Those that do not ask for workers of all three stages."""


@pytest.mark.parametrize("name", STAGE_BY_STAGE)
def test_diffusion_does_not_keep_the_only_encoder_from_encoding(name: str) -> None:
    """At 70 % of what eight devices can diffuse; by deadline or arrival diffusion goes first."""
    given = scenario(
        duration_s=300.0,
        cluster={"nodes": 1, "devices_per_node": 10},
        placement={"pools": POOLS},
        workload={
            "shapes": ["512x512"],
            "steps": STEPS,
            "rate_per_s": 0.7 * 8 / DIFFUSE_S,
            "process": "Poisson",
        },
        dispatch=name,
    )

    result = run(given)

    assert {one.outcome for one in result.records} == {Outcome.FINISHED}
    longest_s = max(one.waited_s[0] for one in result.records)
    assert longest_s <= DIFFUSE_S + LAST_ENCODES_S  # one call, and those encodes that wait then
    assert result.decisions.impossible_count == 0
