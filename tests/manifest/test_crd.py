"""The CRD that is committed is the one the models generate, and keeps the API server's rules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tridentserve.manifest.__main__ import FILES, main, rendered
from tridentserve.manifest.crd import custom_resource_definition
from tridentserve.manifest.spec import Dispatch, Placement
from tridentserve.planner.registry import DISPATCH_NAMES, PLACEMENT_NAMES

ROOT = Path(__file__).resolve().parents[2]
CRD = custom_resource_definition()
VERSION = CRD["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]

# What a structural schema may hold, of all that the generator could produce.
PERMITTED = {
    "type",
    "format",
    "description",
    "properties",
    "additionalProperties",
    "items",
    "required",
    "enum",
    "default",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "anyOf",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from nodes(schema[key], path + mark)


EVERY = list(nodes(SCHEMA))
SPEC = [(path, node) for path, node in EVERY if path.startswith(".spec")]


def whole(schema: dict[str, Any], value: Any) -> Any:
    """What the API server makes of a value: every default below it filled in."""
    if "properties" not in schema:
        return value
    given = {
        key: child["default"] for key, child in schema["properties"].items() if "default" in child
    } | value
    return {key: whole(schema["properties"][key], child) for key, child in given.items()}


@pytest.mark.parametrize("name", FILES)
def test_the_committed_file_is_what_the_models_generate(name: str) -> None:
    committed = (ROOT / name).read_text(encoding="utf-8")

    assert committed == rendered(), "run `python -m tridentserve.manifest` and commit the result"


def test_the_command_writes_every_copy(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0

    assert [(tmp_path / name).read_text(encoding="utf-8") for name in FILES] == [rendered()] * 2


def test_what_is_rendered_is_the_crd_without_anchors() -> None:
    assert yaml.safe_load(rendered()) == CRD
    assert not [line for line in rendered().splitlines() if line.endswith(("&id001", "*id001"))]


def test_kubectl_apply_can_keep_it_in_its_annotation() -> None:
    assert len(yaml.dump(CRD, default_flow_style=True, width=10**9)) < 262144


def test_every_node_has_a_type_and_holds_only_what_is_permitted() -> None:
    wrong = [
        path
        for path, node in EVERY
        if node.keys() - PERMITTED
        or not ("type" in node or node.get("x-kubernetes-int-or-string", False))
    ]

    assert wrong == []


def test_every_field_is_described() -> None:
    own = (".apiVersion", ".kind", ".metadata")
    bare = [
        path
        for path, node in EVERY
        if path and not path.startswith(own) and path[-1] not in "]}" and "description" not in node
    ]

    assert bare == []


def test_everything_that_rules_could_walk_over_is_bounded() -> None:
    bounds = {"array": "maxItems", "string": "maxLength"}
    unbounded = [
        path
        for path, node in SPEC
        if (bound := bounds.get(node.get("type", ""))) and bound not in node and "enum" not in node
    ]
    unbounded += [
        path
        for path, node in SPEC
        if "additionalProperties" in node and "maxProperties" not in node
    ]

    assert unbounded == []


def test_no_number_is_a_fraction() -> None:
    assert [path for path, node in EVERY if node.get("type") == "number"] == []


def test_defaults_are_written_out_whole() -> None:
    partial = [
        path
        for path, node in SPEC
        if "default" in node and whole(node, node["default"]) != node["default"]
    ]

    assert partial == []


def test_nothing_is_filled_in_where_the_operator_has_said_nothing() -> None:
    assert [path for path, node in EVERY if path.startswith(".status") and "default" in node] == []


def test_messages_of_rules_are_static_and_speak_of_one_field() -> None:
    rules = [rule for _, node in EVERY for rule in node.get("x-kubernetes-validations", [])]

    assert len(rules) > 10
    assert all(rule.keys() <= {"rule", "message", "fieldPath"} for rule in rules)


def test_it_offers_exactly_the_planners_that_work() -> None:
    assert set(Placement) == set(PLACEMENT_NAMES)
    assert set(Dispatch) == set(DISPATCH_NAMES)


def test_people_find_it_by_its_short_name_and_see_what_matters() -> None:
    names = CRD["spec"]["names"]
    columns = [column["name"] for column in VERSION["additionalPrinterColumns"]]

    assert names["shortNames"] == ["dp"]
    assert names["categories"] == ["tridentserve"]
    assert columns[:7] == ["Ready", "Reason", "Model", "Enc", "Diff", "Dec", "Age"]
    assert VERSION["subresources"] == {"status": {}}
