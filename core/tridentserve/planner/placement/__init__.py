"""Placement planners, one algorithm a module."""
