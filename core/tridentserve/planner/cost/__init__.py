"""What stages and requests cost: a profile to begin with, corrected by every measurement.

`model` is the whole of it to the outside; `cells` holds what was measured, `guessing` answers what
was not, with `interpolation` between shapes and `parallel` between strategies; `correction` is how
far a profile is off; `handoff` and `sharing` are what stores and neighbours on a device add.
"""

from tridentserve.planner.cost.model import CostModel

__all__ = ["CostModel"]
