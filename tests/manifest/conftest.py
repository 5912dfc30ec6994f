"""DiffusionPipelines on a real API server."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, watch

from tridentserve.manifest.base import GROUP, PLURAL, VERSION
from tridentserve_local.cluster import LocalCluster

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server says to a resource that somebody applies."""

    code: int
    message: str
    """Empty where it is accepted."""
    served: dict[str, Any]
    """The resource as stored, empty where it is refused."""


class Pipelines:
    """The API server's view of DiffusionPipelines; nothing is stored, everything is checked."""

    def __init__(self, api: Any) -> None:
        """Talk through this client."""
        self._api: Any = client.CustomObjectsApi(api)

    def apply(self, body: dict[str, Any]) -> Answer:
        """Create a resource without storing it, as strictly as kubectl does."""
        body = {**body, "metadata": {**body["metadata"], "namespace": "default"}}
        try:
            served = self._api.create_namespaced_custom_object(
                GROUP, VERSION, "default", PLURAL, body, dry_run="All", field_validation="Strict"
            )
        except client.ApiException as refusal:
            return Answer(
                code=refusal.status, message=json.loads(refusal.body or "{}")["message"], served={}
            )
        return Answer(code=201, message="", served=served)

    def with_status(self, body: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """Store a resource, set its status, and answer how it is listed for people then."""
        name = body["metadata"]["name"]
        place = (GROUP, VERSION, "default", PLURAL)
        self._api.create_namespaced_custom_object(
            *place, {**body, "metadata": {"name": name}}, field_validation="Strict"
        )
        try:
            self._api.patch_namespaced_custom_object_status(
                *place, name, {"status": status}, field_validation="Strict"
            )
            return {
                "object": self._api.get_namespaced_custom_object(*place, name),
                "table": self._table(name),
            }
        finally:
            self._api.delete_namespaced_custom_object(*place, name)

    def _table(self, name: str) -> dict[str, Any]:
        api = self._api.api_client
        path = f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}/{name}"
        answer = api.call_api(
            *api.param_serialize(
                "GET",
                path,
                header_params={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
                auth_settings=["BearerToken"],
            )
        )
        answer.read()
        table = json.loads(answer.data)
        names = [column["name"] for column in table["columnDefinitions"]]
        return dict(zip(names, table["rows"][0]["cells"], strict=True))


def _wait_until_served(api: Any, name: str) -> None:
    definitions = client.ApiextensionsV1Api(api).list_custom_resource_definition
    events: Any = watch.Watch()  # type: ignore[no-untyped-call]
    stream = events.stream(definitions, field_selector=f"metadata.name={name}", timeout_seconds=30)
    for event in stream:
        conditions = event["object"].status.conditions or []
        if any(seen.type == "Established" and seen.status == "True" for seen in conditions):
            return
    pytest.fail(f"{name} was not served within 30 s")


@pytest.fixture(scope="session")
def pipelines(local_cluster: LocalCluster) -> Pipelines:
    """A real API server that has our CRD, and serves it."""
    api = config.new_client_from_config(  # type: ignore[no-untyped-call]
        str(local_cluster.kubeconfig)
    )
    definition = yaml.safe_load((ROOT / "crds/diffusionpipelines.yaml").read_text("utf-8"))
    client.ApiextensionsV1Api(api).patch_custom_resource_definition(
        definition["metadata"]["name"],
        definition,
        field_manager="tests",
        force=True,
        _content_type="application/apply-patch+yaml",
    )
    _wait_until_served(api, definition["metadata"]["name"])
    return Pipelines(api)
