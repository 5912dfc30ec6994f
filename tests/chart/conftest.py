"""The charts, rendered in this process by Helm's own library."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart

HELM = Path(__file__).resolve().parents[2] / "deploy/helm"

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]


def renderer(chart: Chart) -> Render:
    def render(
        values: dict[str, Any] | None = None, *, name: str = "ts", namespace: str = "system"
    ) -> Objects:
        """Every object of a release, in the order of its files."""
        files = chart.render(values or {}, name=name, namespace=namespace)
        manifests = (text for path, text in files.items() if not path.endswith("NOTES.txt"))
        return [body for text in manifests for body in yaml.safe_load_all(text) if body]

    return render


@pytest.fixture(scope="session")
def chart() -> Iterator[Chart]:
    """The operator's chart."""
    with Chart.load(HELM / "tridentserve") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def crds_chart() -> Iterator[Chart]:
    """The chart of the definitions."""
    with Chart.load(HELM / "tridentserve-crds") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def render(chart: Chart) -> Render:
    """Renders the operator's chart."""
    return renderer(chart)


@pytest.fixture(scope="session")
def render_crds(crds_chart: Chart) -> Render:
    """Renders the chart of the definitions."""
    return renderer(crds_chart)
