"""The edge to Kubernetes' JSON: one name for its objects, one form for its times and quantities.

Objects of the API server are trees of plain dictionaries. They are called `Json` here and nowhere
else, so that a reader sees where the typed world ends: `specs` turns them into dataclasses,
`status` turns dataclasses back. This module knows no field of any object.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
"""An object of the Kubernetes API, as `json.loads` gives it."""

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?")


def parse_quantity(text: str) -> Decimal:
    """The value of a Kubernetes quantity such as `250m`, `1.5Gi` or `1e3`.

    Raises:
        ValueError: the text is no quantity.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


def timestamp(seconds: float, *, micro: bool = False) -> str:
    """Seconds since the epoch as the API writes times; `micro` for the MicroTime of leases."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> float:
    """The opposite of `timestamp`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
