"""Fixtures that every folder of tests shares: one local cluster for all of them."""

pytest_plugins = ["tridentserve_local.testing"]
