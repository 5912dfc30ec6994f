"""What a local cluster is made of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from .backoff import BackoffPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Everything that `up` and `LocalCluster` may choose."""

    nodes: int = 1
    cpus: int = 8
    """CPUs that each node says it has. The scheduler counts them, nothing enforces them."""
    memory_gib: int = 32
    gpus: int = 0
    """Made-up GPUs of each node."""
    redis_max_memory: str = "256mb"
    """Redis refuses writes beyond it (`noeviction`)."""
    scrape_interval_s: float = 1.0
    refresh_s: float = 30.0
    """How often pods' config maps, secrets and tokens are looked at again."""
    prometheus: bool = True
    redis: bool = True
    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)

    @property
    def node_names(self) -> tuple[str, ...]:
        """From `node-1` on."""
        return tuple(f"node-{i + 1}" for i in range(self.nodes))

    def to_json(self) -> str:
        """For the command line of the supervisor."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ClusterSettings:
        """The opposite of `to_json`.

        Raises:
            TypeError: it names a setting that does not exist.
        """
        fields = json.loads(text)
        fields["backoff"] = BackoffPolicy(**fields.get("backoff", {}))
        return cls(**fields)
