"""Every example can be applied as it stands, those of the handbook too."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tridentserve.manifest.base import KIND
from tridentserve.manifest.v1alpha1 import parse, parse_served

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("**/*.yaml"))
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pipelines_of(path: Path) -> list[dict[str, Any]]:
    documents = yaml.safe_load_all(path.read_text("utf-8"))
    return [body for body in documents if body and body.get("kind") == KIND]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_good(path: Path) -> None:
    for body in pipelines_of(path):
        assert parse(body).spec.to_domain(parse(body).name).stages


def test_a_pipeline_in_the_handbook_is_good() -> None:
    blocks = [
        block for page in (ROOT / "docs").glob("*.md") for block in BLOCK.findall(page.read_text())
    ]
    bodies = [yaml.safe_load(block) for block in blocks if f"kind: {KIND}" in block]

    assert bodies
    for body in bodies:
        parse(body)


def test_there_are_examples_with_and_without_gpus() -> None:
    bodies = [parse(body) for path in EXAMPLES for body in pipelines_of(path)]

    assert {body.spec.stages.diffuse.gpu.count for body in bodies} >= {0, 1}


@pytest.mark.cluster
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_api_server_takes_an_example(path: Path, pipelines: Any) -> None:
    for body in pipelines_of(path):
        answer = pipelines.apply(body)

        assert answer.message == ""
        assert parse_served(answer.served).spec == parse(body).spec
