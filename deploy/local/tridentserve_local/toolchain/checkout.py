"""Where the sources lie. The toolchain builds from them, so it works in a checkout only."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
"""The repository."""

CONTROL_PLANE = ROOT / "deploy" / "local" / "controlplane"
"""The Go module of the control plane."""
