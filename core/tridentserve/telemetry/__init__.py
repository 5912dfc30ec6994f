"""Metric names and log format, in one place."""
