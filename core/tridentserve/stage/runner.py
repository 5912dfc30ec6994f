"""What a model is to a service: the seam between the skeleton and diffusers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tridentserve.domain.model import ModelInfo
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.domain.tensors import Tensor
from tridentserve.domain.work import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One request's part in a call."""

    generation: Generation
    inputs: Mapping[str, Tensor]
    """What the previous stage handed off; empty for encode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One finished picture or clip."""

    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a call made for one request: tensors to hand off, or media after decode."""

    tensors: Mapping[str, Tensor]
    media: tuple[Media, ...] = ()


Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all) after every step of a stage that has steps.

It raises `CancelledError` when every request of the call is cancelled; the runner lets that pass,
and must be usable afterwards.
"""


class StageRunner(Protocol):
    """Runs one stage of one model; called by one thread at a time."""

    @property
    def stage(self) -> Stage:
        """The stage that it runs."""
        ...

    @property
    def model(self) -> ModelInfo:
        """The model it belongs to; equal for all stages of one model folder."""
        ...

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies it can run."""
        ...

    def run(self, tasks: Sequence[Task], strategy: Strategy, progress: Progress) -> list[Output]:
        """Run tasks of one work key and equal steps in one call; outputs in the same order.

        Raises:
            StageFailedError: the model cannot do this input, and no other worker could.
            CancelledError: raised by `progress`, passed on.
            InvalidFieldError: an input that the model does not take, naming the field.
        """
        ...

    def check(self) -> None:
        """See whether the device still computes, after a call that failed for no known reason.

        Raises:
            Exception: whatever the device's library raises; it is not used any more.
        """
        ...
