"""Labels, owner reference and rendered hash: what every object of a pipeline carries.

The hash stands in an annotation of the object, so that after a restart of the operator one look
tells whether what is there is what would be written.
"""

import hashlib
import json

from tridentserve.domain.names import (
    ANNOTATION_RENDERED_HASH,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_PART_OF,
    LABEL_PIPELINE,
    MANAGED_BY,
    PART_OF,
)
from tridentserve.manifest.base import API_VERSION, KIND, Object
from tridentserve.manifest.v1alpha1 import DiffusionPipeline


def common_labels(pipeline: DiffusionPipeline, component: str) -> dict[str, str]:
    """Labels of everything that belongs to a pipeline."""
    return {
        LABEL_NAME: PART_OF,
        LABEL_INSTANCE: pipeline.metadata.name,
        LABEL_COMPONENT: component,
        LABEL_PART_OF: PART_OF,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PIPELINE: pipeline.metadata.name,
    }


def metadata(pipeline: DiffusionPipeline, name: str, labels: dict[str, str]) -> Object:
    """Name, place, labels and owner of a child: deleting the pipeline collects it.

    The owner's deletion is not blocked, which would need rights on its finalizers.
    """
    return {
        "name": name,
        "namespace": pipeline.metadata.namespace,
        "labels": labels,
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": pipeline.metadata.name,
                "uid": pipeline.metadata.uid or "",
                "controller": True,
            }
        ],
    }


def content_hash(content: object) -> str:
    """Hash of JSON: equal content gives equal hashes, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hashed(body: Object) -> Object:
    """The object with the hash of all of it in its annotations."""
    annotations = dict(body["metadata"].get("annotations", {}))
    annotations[ANNOTATION_RENDERED_HASH] = content_hash(body)[:16]
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def rendered_hash(body: Object) -> str:
    """The hash that `hashed` wrote."""
    value: str = body["metadata"]["annotations"][ANNOTATION_RENDERED_HASH]
    return value
