"""A Kubernetes cluster on a laptop, without Docker: control plane, nodes, Redis and Prometheus."""
