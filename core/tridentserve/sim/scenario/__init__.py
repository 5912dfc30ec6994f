"""A scenario: everything that a run depends on, as people write it in YAML.

Names are those of the file; units stand in them. Every default is stated here and nowhere else.
Reading a file, and naming the line of what is wrong in it, is `sim.reading`'s.
"""

from tridentserve.sim.scenario.placement import PlacementPart
from tridentserve.sim.scenario.whole import ProfilePart, Scenario
from tridentserve.sim.scenario.workload import PhasePart, WeightPart, WorkloadPart
from tridentserve.sim.scenario.world import ClusterPart, DecisionPart, WorldPart

__all__ = [
    "ClusterPart",
    "DecisionPart",
    "PhasePart",
    "PlacementPart",
    "ProfilePart",
    "Scenario",
    "WeightPart",
    "WorkloadPart",
    "WorldPart",
]
