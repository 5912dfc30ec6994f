"""What a DiffusionPipeline asks for, as the deciders see it; the manifest converts itself to it."""

from dataclasses import dataclass

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import PipelineName
from tridentserve.domain.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingRule:
    """One direction of `behavior`, with the meaning of the HorizontalPodAutoscaler's fields."""

    stabilization_window_s: int
    tolerance_percent: int
    """A change smaller than this share of the current size is left alone."""
    max_workers: int
    """At most this many workers a period …"""
    max_percent: int
    """… or this share of the current size, whichever is more."""
    period_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """How fast a stage may grow and shrink."""

    scale_up: ScalingRule
    scale_down: ScalingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """What the user allows for one stage."""

    stage: Stage
    min_replicas: int
    max_replicas: int
    sharing: Sharing
    devices_per_worker: int
    """0 where the sharing mode uses no GPU."""
    fractions_percent: tuple[int, ...]
    """What the planner may choose from, ascending."""
    batch_max_size: int
    batch_max_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one request may ask for."""

    max_pixels: int
    max_frames: int
    max_steps: int
    max_images: int
    max_prompt_characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """One pipeline, complete: every default is filled in."""

    name: PipelineName
    stages: tuple[StageSpec, ...]
    """All three, in order."""
    limits: Limits
    slo_scale_percent: int
    """Deadline as a share of the best end-to-end time of the shape; 250 is 2.5 times."""
    placement: str
    """Name in the registry of placement planners."""
    dispatch: str
    """Name in the registry of dispatch planners."""
    max_queue: int
    drain_s: int
    suspend: bool
    interval_s: int
    """Between two looks of the placement planner."""
    gpu_limit_percent: int
    """Budget of the whole pipeline; 100 is one GPU."""
    target_utilization_percent: int
    """Share of a worker's time that placement fills on purpose."""
    behavior: Behavior

    def stage(self, stage: Stage) -> StageSpec:
        """The specification of one stage."""
        return next(spec for spec in self.stages if spec.stage is stage)
