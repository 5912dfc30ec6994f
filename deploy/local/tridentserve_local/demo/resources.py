"""What the demo applies: a namespace and two pipelines, as the YAML a person would write. Pure."""

from __future__ import annotations

import json
from pathlib import Path

NAMESPACE = "demo"
PICTURES = "shapes"
LOAD = "synthetic"

STEPS = 8
STEP_S = 0.05
"""Seconds of a step of the synthetic model at 100 %."""
SYNTHETIC = {
    "family": "synthetic",
    "seconds": {"encode": 0.01, "diffusePerStep": STEP_S, "decode": 0.02},
    "handoffBytes": {"encode": 65536, "diffuse": 131072},
    "default": {"height": 64, "width": 64, "steps": STEPS, "guidance": 5.0},
    "sizeMultiple": 16,
}

_NAMESPACE = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    # Pods of one node share memory through a hostPath volume, which stricter levels refuse.
    pod-security.kubernetes.io/enforce: privileged
"""

_PICTURES = """\
apiVersion: tridentserve.io/v1alpha1
kind: DiffusionPipeline
metadata:
  name: {name}
spec:
  model:
    uri: {uri}
    dtype: float32
  stages:
    diffuse:
      replicas: {{min: 2}}   # one on each node, so that hops stay on a node and cross
"""

_LOAD = """\
apiVersion: tridentserve.io/v1alpha1
kind: DiffusionPipeline
metadata:
  name: {name}
spec:
  model:
    uri: {uri}
  stages:
    diffuse:
      replicas: {{min: 1, max: 4}}
      gpu: {{fractionsPercent: [50, 100]}}   # sizes of a worker that the planner may choose from
  slo: {{scalePercent: 400}}
  autoscaling:
    intervalSeconds: 1
    behavior:
      scaleUp:
        policies: [{{type: Pods, value: 4, periodSeconds: 2}}]
      scaleDown:
        stabilizationWindowSeconds: 3   # 300 by default, too long to watch
        policies: [{{type: Percent, value: 100, periodSeconds: 2}}]
"""


def namespace() -> str:
    """Where both pipelines live."""
    return _NAMESPACE


def pictures_pipeline(model: Path) -> str:
    """The model that draws: one encoder, two diffusers, one decoder."""
    return _PICTURES.format(name=PICTURES, uri=f"file://{model}")


def load_pipeline(model: Path) -> str:
    """A synthetic model whose diffuse stage may change in number and size."""
    return _LOAD.format(name=LOAD, uri=f"file://{model}")


def write_synthetic(folder: Path) -> None:
    """Make the folder of the synthetic model."""
    folder.mkdir(parents=True)
    (folder / "synthetic.json").write_text(json.dumps(SYNTHETIC, indent=2) + "\n")
