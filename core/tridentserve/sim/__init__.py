"""A deterministic event simulation that drives the very planners of operator and router."""
