"""The placement that follows nothing: `replicas.min` of every stage at its largest fraction."""

from tridentserve.domain.plans import PlacementPlan, PoolPlan, Reason
from tridentserve.planner.placement.budget import cut_to_budget, shape_of
from tridentserve.planner.protocols import PlacementInputs


class Static:
    """`replicas.min` workers a stage at the largest fraction, whatever the load."""

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The same plan for the same specification."""
        spec = inputs.spec
        pools = tuple(
            PoolPlan(shape=shape_of(stage, stage.fractions_percent[-1]), workers=stage.min_replicas)
            for stage in spec.stages
        )
        reasons = tuple(
            Reason(
                code="Static",
                message=f"replicas.min = {stage.min_replicas} at {stage.fractions_percent[-1]} %",
                stage=stage.stage,
            )
            for stage in spec.stages
        )
        plan = PlacementPlan(pools=pools, reasons=reasons, follows_load=False)
        return cut_to_budget(plan, spec)
