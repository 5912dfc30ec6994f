"""Everything that plans, pure: one planner drives operator, router and simulator."""
