"""Dispatch planners, one algorithm a module."""
