"""TridentServe: stage-level serving of diffusion pipelines on Kubernetes.

This package is the library everything rests on: domain values, planners, tensor stores, the
protocol and the skeleton of a stage service. The components (operator, router, stage services)
are packages of their own and import this one; it imports none of them.
"""

__version__ = "0.1.0"
