"""Every state that the pods and Deployments of a pipeline were in, as the API server told it.

A watch, so that a state of a moment is not missed between two looks, and so that a test can act as
soon as the effect of one step can be seen.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.e2e.pipelines import Pipeline

from tridentserve.domain.names import (
    LABEL_DRAINING,
    LABEL_PIPELINE,
    LABEL_REVISION,
    LABEL_STAGES,
)
from tridentserve.domain.stages import STAGES
from tridentserve_local.testing import eventually
from tridentserve_local.toolchain import tools

Json = dict[str, Any]
Objects = dict[str, Json]
"""By name."""

_PATHS = {
    "pods": "/api/v1/namespaces/{namespace}/pods",
    "deployments": "/apis/apps/v1/namespaces/{namespace}/deployments",
}


class History:
    """A context in which pods and Deployments of a pipeline are watched."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Prepare to watch."""
        self.pods: Objects = {}
        self.deployments: Objects = {}
        self.gaps: list[str] = []
        """Moments at which no revision had a worker of every stage that may be given work."""
        self.most_unready = 0
        self._served = False
        self._lock = threading.Lock()
        self._pipeline = pipeline
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Watch."""
        self._watch("pods", self.pods, self._judge)
        self._watch("deployments", self.deployments, lambda: None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Watch no more."""
        for process in self._processes:
            process.terminate()
            process.wait(10)
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.close()

    def eventually(self, seen: Callable[[Self], object], what: str, within_s: float = 60) -> None:
        """Return as soon as a state is seen, within milliseconds."""
        eventually(lambda: self._look(seen), within_s=within_s, every_s=0.01, what=what)

    def pools(self, revision: str = "") -> Objects:
        """Deployments of workers, of one revision or of all."""
        return {
            name: body
            for name, body in list(self.deployments.items())
            if LABEL_REVISION in body["metadata"]["labels"]
            and revision in ("", body["metadata"]["labels"][LABEL_REVISION])
        }

    def _look(self, seen: Callable[[Self], object]) -> bool:
        with self._lock:
            return bool(seen(self))

    def _watch(self, kind: str, into: Objects, judge: Callable[[], None]) -> None:
        tool = tools.kubectl()
        selector = f"{LABEL_PIPELINE}%3D{self._pipeline.name}"
        path = _PATHS[kind].format(namespace=self._pipeline.namespace)
        process = subprocess.Popen(
            tool.argv("get", "--raw", f"{path}?watch=1&labelSelector={selector}"),
            env={
                **os.environ,
                **tool.environment,
                "KUBECONFIG": str(self._pipeline.cluster.kubeconfig),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        thread = threading.Thread(target=self._read, args=(process, into, judge))
        self._processes.append(process)
        self._threads.append(thread)
        thread.start()

    def _read(
        self, process: subprocess.Popen[str], into: Objects, judge: Callable[[], None]
    ) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            name = event["object"]["metadata"]["name"]
            with self._lock:
                if event["type"] == "DELETED":
                    into.pop(name, None)
                else:
                    into[name] = event["object"]
                judge()

    def _judge(self) -> None:
        served: dict[str, set[str]] = {}
        for pod in self.pods.values():
            if may_be_given_work(pod):
                labels = pod["metadata"]["labels"]
                served.setdefault(labels[LABEL_REVISION], set()).add(labels[LABEL_STAGES])
        if any(stages >= set(STAGES) for stages in served.values()):
            self._served = True
        elif self._served:
            self.gaps.append(str(served))


def is_ready(body: Json) -> bool:
    """Whether a pod is ready."""
    conditions = body.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_draining(pod: Json) -> bool:
    """Whether a pod carries the label."""
    return LABEL_DRAINING in pod["metadata"]["labels"]


def is_ending(pod: Json) -> bool:
    """Whether a pod was deleted and is not gone."""
    return "deletionTimestamp" in pod["metadata"]


def may_be_given_work(pod: Json) -> bool:
    """Whether a pod is a worker that the router may choose."""
    worker = LABEL_REVISION in pod["metadata"]["labels"]
    return worker and is_ready(pod) and not is_draining(pod) and not is_ending(pod)
