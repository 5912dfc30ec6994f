"""What ends a demo early."""

from __future__ import annotations

from tridentserve.errors import TemporaryError


class DemoError(TemporaryError):
    """Something did not happen in time, or failed; the message says what, and where to look."""
