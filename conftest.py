"""What all folders of tests share: one local cluster, and how examples are drawn."""

import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["tridentserve_local.testing"]

# A shell starts what it runs in the background with SIGINT ignored, and every child inherits that:
# tests that send Ctrl-C to a program of ours would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples at every run, however slow the machine, so that no change is refused for what
# it did not do. New ones are searched for on purpose: CONTRIBUTING.md says how.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")
