"""A cluster in memory: what the operator needs of an API server, and pods that become ready.

For tests of the whole way from a look to its effects, in virtual time. It keeps to the semantics
that the operator rests on (generations, owner references, merge patches, deletion preconditions,
which pods a shrinking Deployment lets go) and to nothing else: admission, defaulting and garbage
collection are the real API server's, and are tested against that.
"""

import copy
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from tridentserve.domain.ids import PipelineName
from tridentserve.domain.names import (
    ANNOTATION_DELETION_COST,
    LABEL_COMPONENT,
    LABEL_PIPELINE,
    LABEL_POOL,
    LABEL_REVISION,
)
from tridentserve.errors import InvalidFieldError, NotFoundError, UnavailableError
from tridentserve.manifest.base import API_VERSION, KIND, Object
from tridentserve_operator.observe import Observation, observation
from tridentserve_operator.views import ROUTER, deployment_view, object_view, pod_view

Key = tuple[str, str, str]

_OTHERS = ("Service", "ServiceAccount", "RoleBinding")


def pipeline_body(
    name: str = "flux", namespace: str = "default", uid: str = "uid-1", **spec: object
) -> Object:
    """A DiffusionPipeline as an API server hands it out; the model is a claim's."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "generation": 1},
        "spec": {"model": {"uri": "pvc://models/flux"}, **spec},
    }


def rfc3339(unix_s: float) -> str:
    """A moment as the API server writes it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class MemoryCluster:
    """An `Api` and `Sources` over dicts; `settle` plays the controllers, scheduler and nodes."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        """Begin empty, at a moment of virtual time."""
        self.now = now
        self.objects: dict[Key, Object] = {}
        self.calls: list[tuple[str, str, str]] = []
        """(verb, kind, name) of every call that was let through."""
        self.before_call: Callable[[str, str, str], None] = lambda verb, kind, name: None
        """Raises in place of a call."""
        self._version = 0
        self._applied: set[str] = set()
        """Uids of what `apply` made: whatever else is there, somebody else has set its fields."""
        self.capacity = 1000
        """Pods that find a node."""
        self.failing: dict[str, Object] = {}
        """Container status of pods whose component or revision is named, in place of a good one."""

    # --- Api --------------------------------------------------------------------------------------

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """One object."""
        self._called("get", kind, name)
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise NotFoundError(f"{kind} {name} is not there")
        return copy.deepcopy(found)

    async def apply(self, body: Object, *, subresource: str = "", force: bool = True) -> Object:
        """Create or change; only the fields of `body` are touched, and without force no others'."""
        metadata = body["metadata"]
        key = (body["kind"], metadata["namespace"], metadata["name"])
        self._called("apply", key[0] + (f"/{subresource}" if subresource else ""), key[2])
        found = self.objects.get(key)
        if subresource:
            if found is None or found["metadata"]["uid"] != metadata["uid"]:
                raise NotFoundError(f"{key} is not there")
            found[subresource] = copy.deepcopy(body[subresource])
            return copy.deepcopy(found)
        if found is None:
            found = {"metadata": {"uid": str(uuid.uuid4()), "generation": 0}, "status": {}}
            self.objects[key] = found
            self._applied.add(found["metadata"]["uid"])
        elif not force and found["metadata"]["uid"] not in self._applied and _differs(found, body):
            raise InvalidFieldError(f"{key[0]} {key[2]}", "it belongs to somebody else")
        self._change(found, copy.deepcopy(body))
        return copy.deepcopy(found)

    async def merge(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch; an `uid` in it is a precondition."""
        self._called("merge", kind, name)
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise NotFoundError(f"{kind} {name} is not there")
        wanted = patch.get("metadata", {}).get("uid", found["metadata"]["uid"])
        if wanted != found["metadata"]["uid"]:
            raise UnavailableError("conflict")
        self._change(found, copy.deepcopy(patch))
        return copy.deepcopy(found)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly this object."""
        self._called("delete", kind, name)
        found = self.objects.get((kind, namespace, name))
        if found is not None and found["metadata"]["uid"] == uid:
            del self.objects[kind, namespace, name]

    async def create(self, body: Object) -> None:
        """Create."""
        self._called("create", body["kind"], body["metadata"]["name"])
        metadata = body["metadata"]
        self.objects[body["kind"], metadata["namespace"], metadata["name"]] = copy.deepcopy(body)

    def _called(self, verb: str, kind: str, name: str) -> None:
        self.before_call(verb, kind, name)
        self.calls.append((verb, kind, name))

    def _change(self, found: Object, patch: Object) -> None:
        before = copy.deepcopy(found)
        _merge(found, patch)
        if found.get("spec") != before.get("spec"):
            found["metadata"]["generation"] = found["metadata"].get("generation", 0) + 1
        if found != before:
            self._version += 1
            found["metadata"]["resourceVersion"] = str(self._version)

    # --- Sources ----------------------------------------------------------------------------------

    def pipelines(self) -> Iterable[PipelineName]:
        """Every pipeline that is there."""
        return [PipelineName(f"{key[1]}/{key[2]}") for key in self.objects if key[0] == KIND]

    def body(self, name: PipelineName) -> Object | None:
        """The resource."""
        namespace, _, short = name.partition("/")
        return copy.deepcopy(self.objects.get((KIND, namespace, short)))

    def observe(self, name: PipelineName, uid: str, now: float) -> Observation:
        """Everything of it that is watched."""
        namespace, _, short = name.partition("/")
        ours = [
            found
            for key, found in self.objects.items()
            if key[1] == namespace and _label(found, LABEL_PIPELINE) == short
        ]
        return observation(
            uid,
            [deployment_view(one) for one in ours if one["kind"] == "Deployment"],
            [pod_view(one) for one in ours if one["kind"] == "Pod"],
            now,
            [object_view(one) for one in ours if one["kind"] in _OTHERS],
        )

    # --- the rest of the cluster ------------------------------------------------------------------

    def put(self, body: Object) -> None:
        """A user applies a pipeline; another spec is another generation."""
        metadata = body["metadata"]
        key = (body["kind"], metadata["namespace"], metadata["name"])
        known = self.objects.get(key)
        if known is None:
            self.objects[key] = copy.deepcopy(body)
        elif known["spec"] != body["spec"]:
            known["spec"] = copy.deepcopy(body["spec"])
            known["metadata"]["generation"] += 1

    def put_config_map(self, name: str, data: Mapping[str, str]) -> None:
        """A user writes a ConfigMap of the namespace `default`, and it gets another version."""
        self._version += 1
        self.objects["ConfigMap", "default", name] = {
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": "default",
                "resourceVersion": str(self._version),
            },
            "data": dict(data),
        }

    def of(self, kind: str) -> list[Object]:
        """Every object of a kind."""
        return [found for key, found in self.objects.items() if key[0] == kind]

    def pods(self, component: str = "") -> list[Object]:
        """Every pod, or those of a component."""
        return [pod for pod in self.of("Pod") if component in ("", _label(pod, LABEL_COMPONENT))]

    def settle(self) -> None:
        """Deployments get their pods, pods their nodes, containers become ready."""
        for deployment in self.of("Deployment"):
            self._scale(deployment)
        owners = {one["metadata"]["name"] for one in self.of("Deployment")}
        for pod in self.pods():
            if pod["owner"] not in owners:
                self._drop(pod)
        for number, pod in enumerate(self.pods()):
            self._run(pod, placed=number < self.capacity)
        for deployment in self.of("Deployment"):
            self._report(deployment)

    def _scale(self, deployment: Object) -> None:
        name, replicas = deployment["metadata"]["name"], deployment["spec"].get("replicas", 1)
        own = [pod for pod in self.pods() if pod["owner"] == name]
        # As the ReplicaSet controller ranks: not ready first, then the lowest deletion cost.
        own.sort(key=lambda pod: (_ready(pod), _cost(pod), -pod["born"]))
        for pod in own[: max(0, len(own) - replicas)]:
            self._drop(pod)
        for _ in range(replicas - len(own)):
            self._add(deployment)

    def _add(self, deployment: Object) -> None:
        metadata, template = deployment["metadata"], deployment["spec"]["template"]
        identity = uuid.uuid4().hex
        name = f"{metadata['name']}-{identity[:5]}"
        self.objects["Pod", metadata["namespace"], name] = {
            "kind": "Pod",
            "owner": metadata["name"],
            "born": self.now,
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "uid": identity,
                "creationTimestamp": rfc3339(self.now),
                "labels": dict(template["metadata"]["labels"]),
            },
            "spec": copy.deepcopy(template["spec"]),
        }

    def _drop(self, pod: Object) -> None:
        del self.objects["Pod", pod["metadata"]["namespace"], pod["metadata"]["name"]]

    def _run(self, pod: Object, *, placed: bool) -> None:
        if not placed:
            pod["status"] = {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/2 nodes are available: 2 Insufficient cpu.",
                        "lastTransitionTime": rfc3339(pod["born"]),
                    }
                ],
            }
            return
        named = (_label(pod, LABEL_COMPONENT), _label(pod, LABEL_REVISION))
        bad = next((self.failing[name] for name in named if name in self.failing), None)
        ready = {"type": "Ready", "status": "False" if bad else "True"}
        container = bad or {"ready": True, "state": {"running": {}}}
        pod["status"] = {
            "phase": "Running",
            "conditions": [ready],
            "containerStatuses": [container],
        }

    def _report(self, deployment: Object) -> None:
        name = deployment["metadata"]["name"]
        own = [pod for pod in self.pods() if pod["owner"] == name]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "readyReplicas": sum(_ready(pod) for pod in own),
            "updatedReplicas": len(own),
        }


def pool_of(pod: Object) -> str:
    """Name of a pod's pool; the router's has none."""
    return _label(pod, LABEL_POOL) or ROUTER


def _label(body: Object, name: str) -> str:
    value: str = (body["metadata"].get("labels") or {}).get(name, "")
    return value


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _cost(pod: Object) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(ANNOTATION_DELETION_COST, 0))


def _differs(found: Object, wanted: Object) -> bool:
    """Whether a field of both has two values."""
    return any(
        _differs(found[name], value)
        if isinstance(value, dict) and isinstance(found[name], dict)
        else found[name] != value
        for name, value in wanted.items()
        if name in found
    )


def _merge(target: Object, patch: Object) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value
