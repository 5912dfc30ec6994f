"""Fixtures that every folder of tests shares: one local cluster for all of them."""

import signal

pytest_plugins = ["tridentserve_local.testing"]

# A shell starts what it runs in the background with SIGINT ignored, and every child inherits that:
# tests that send Ctrl-C to a program of ours would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
