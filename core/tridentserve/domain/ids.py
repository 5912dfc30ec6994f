"""Identifiers, tainted by type so that one kind cannot be passed for another."""

from typing import NewType

PipelineName = NewType("PipelineName", str)
"""`namespace/name` of a DiffusionPipeline."""

NodeId = NewType("NodeId", str)
"""Name of a Kubernetes node."""

DeviceId = NewType("DeviceId", str)
"""`node/uuid` of a GPU, or `cpu/<pod uid>`: the private device of a worker without one."""

WorkerId = NewType("WorkerId", str)
"""Name of a worker's pod."""

PoolName = NewType("PoolName", str)
"""Name of a pool, which is the name of its Deployment."""

Revision = NewType("Revision", str)
"""Six characters of the hash of a pipeline's rendered pod templates."""

ContentDigest = NewType("ContentDigest", str)
"""Hash of a whole model folder, as its workers read it."""

MemoryDomain = NewType("MemoryDomain", str)
"""UUID found in a shared directory; who advertises the same one can share memory."""

RequestId = NewType("RequestId", str)
"""Unguessable name of a request."""

SegmentId = NewType("SegmentId", str)
"""Name of one `Run`: `<request id>/<stage>/<epoch>`."""

PlanId = NewType("PlanId", str)
"""Hash of a placement plan's content."""

Epoch = NewType("Epoch", int)
"""Counts the decisions about one request; workers refuse what is older than they have seen."""
