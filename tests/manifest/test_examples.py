"""Every example can be applied as it stands."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tridentserve.manifest.base import KIND
from tridentserve.manifest.v1alpha1 import parse, parse_served

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("**/*.yaml"))


def pipelines_of(path: Path) -> list[dict[str, Any]]:
    documents = yaml.safe_load_all(path.read_text("utf-8"))
    return [body for body in documents if body and body.get("kind") == KIND]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_good(path: Path) -> None:
    for body in pipelines_of(path):
        assert parse(body).spec.to_domain(parse(body).name).stages


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
