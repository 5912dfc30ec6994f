"""Tames diffusers and transformers before they are imported: no network, no chatter.

Both look at the environment when they are first imported, and both print notes about optional
packages and progress bars for every file, among which the one line that matters would drown.
"""

import os


def tame() -> None:
    """Call before the first import of either; again does no harm."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
