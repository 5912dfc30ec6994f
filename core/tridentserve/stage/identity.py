"""What a worker answers when it is asked who it is."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.stages import Stage
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import stage_pb2
from tridentserve.stage.runner import StageRunner
from tridentserve.stage.settings import StageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Constant from the moment the model is loaded to the end of the process."""

    settings: StageSettings
    runners: Mapping[Stage, StageRunner]
    load_seconds: Mapping[Stage, float]
    domain: MemoryDomain | None
    boot_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """New with every process: a restarted container keeps its pod's name, uid and address."""

    def describe(self, *, draining: bool) -> stage_pb2.DescribeResponse:
        """The message; co-located stages list only the strategies that all of them can run."""
        settings, runners = self.settings, tuple(self.runners.values())
        stages = [convert.stage_to(runner.stage) for runner in runners]
        common = [
            strategy
            for strategy in runners[0].strategies
            if all(strategy in runner.strategies for runner in runners)
        ]
        return stage_pb2.DescribeResponse(
            worker=settings.worker,
            pod_uid=settings.pod_uid,
            boot_id=self.boot_id,
            pipeline=settings.pipeline,
            pool=settings.pool,
            revision=settings.revision,
            node=settings.node,
            model=convert.model_to(runners[0].model),
            capable=stages,
            resident=stages,
            device_ids=settings.devices,
            fraction_percent=settings.fraction_percent,
            slots=settings.max_batch,
            strategies=[convert.strategy_to(strategy) for strategy in common],
            memory_domain=self.domain or "",
            draining=draining,
            load_costs=[
                stage_pb2.LoadCost(stage=convert.stage_to(stage), seconds=seconds)
                for stage, seconds in self.load_seconds.items()
            ],
        )
