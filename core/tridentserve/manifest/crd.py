"""The CustomResourceDefinition, generated: `crds/` and the chart hold what this writes."""

from tridentserve.manifest.base import GROUP, KIND, PLURAL, VERSION, Object
from tridentserve.manifest.schema import Schema, structural
from tridentserve.manifest.spec import Spec
from tridentserve.manifest.status import Status
from tridentserve.manifest.v1alpha1 import DiffusionPipeline


def custom_resource_definition() -> Object:
    """The whole object, ready for the API server."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["dp"],
                "categories": ["tridentserve"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def _schema() -> Schema:
    # apiVersion, kind and metadata are the API server's own. Nothing is filled in below status:
    # what the operator has not said is not known.
    return {
        "description": DiffusionPipeline.__doc__,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _described("spec", structural(Spec)),
            "status": _described("status", structural(Status, defaults=False)),
        },
        "x-kubernetes-validations": [
            {"rule": rule.cel, "message": rule.message} for rule in DiffusionPipeline.rules
        ],
    }


def _described(name: str, schema: Schema) -> Schema:
    return {**schema, "description": DiffusionPipeline.model_fields[name].description}


def _columns() -> list[Object]:
    ready = '.status.conditions[?(@.type=="Ready")]'
    return [
        _column("Ready", f"{ready}.status", "Whether every worker that should be ready is."),
        _column("Reason", f"{ready}.reason", "Why it is or is not ready."),
        _column("Model", ".spec.model.uri", "The model."),
        _column("Enc", _summary("encode"), "Encode workers, ready/desired."),
        _column("Diff", _summary("diffuse"), "Diffuse workers, ready/desired."),
        _column("Dec", _summary("decode"), "Decode workers, ready/desired."),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        _column("URL", ".status.url", "Where applications call it.", priority=1),
        _column("Plan", ".status.plan.id", "The placement plan in force.", priority=1),
    ]


def _summary(stage: str) -> str:
    return f'.status.stages[?(@.name=="{stage}")].summary'


def _column(name: str, path: str, description: str, priority: int = 0) -> Object:
    column = {"name": name, "type": "string", "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column
