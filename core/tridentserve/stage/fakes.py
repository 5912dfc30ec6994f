"""A runner under the thumb of a test: it makes steps when it is allowed to, and fails when told.

Shipped because whoever tests against workers (the router, the simulator) needs one that stops at a
known step; the synthetic runner goes on by itself.
"""

import threading
from collections.abc import Callable, Sequence

from tridentserve.domain.ids import ContentDigest
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.tensors import Tensor
from tridentserve.errors import StageFailedError
from tridentserve.stage.runner import Media, Output, Progress, Task

_PATIENCE_S = 60.0
"""A test that forgot to allow a step fails instead of hanging."""

FAKE_MODEL = ModelInfo(
    family="fake",
    digest=ContentDigest("fake-digest"),
    default_shape=Shape(height=64, width=64),
    default_steps=4,
    default_guidance=5.0,
    size_multiple=16,
    negative_prompt=False,
)


def echo(task: Task) -> Output:
    """The prompt and all that came in, as one tensor to hand off."""
    data = task.generation.prompt.encode() + b"".join(bytes(t.data) for t in task.inputs.values())
    return Output(
        tensors={"echo": Tensor(dtype="uint8", shape=(len(data),), data=memoryview(data))}
    )


def draw(task: Task) -> Output:
    """All that came in, as media."""
    data = b"".join(bytes(tensor.data) for tensor in task.inputs.values())
    media = Media(mime_type="image/png", data=data)
    return Output(tensors={}, media=(media,) * task.generation.count)


class FakeRunner:
    """See `StageRunner`; runs freely unless `hold` was called."""

    def __init__(
        self,
        stage: Stage,
        *,
        make: Callable[[Task], Output] | None = None,
        model: ModelInfo = FAKE_MODEL,
        strategies: tuple[Strategy, ...] = (SINGLE,),
    ) -> None:
        """Prepare; `make` may raise, and defaults to `echo`, or `draw` for decode."""
        self._stage, self._model, self._strategies = stage, model, strategies
        self._make = make or (draw if stage is Stage.DECODE else echo)
        self._allowed: threading.Semaphore | None = None
        self.calls: list[tuple[Task, ...]] = []
        """Tasks of every call, in order."""
        self.device_error: Exception | None = None
        """What `check` raises."""

    @property
    def stage(self) -> Stage:
        """The stage that it runs."""
        return self._stage

    @property
    def model(self) -> ModelInfo:
        """The model it belongs to."""
        return self._model

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """As told."""
        return self._strategies

    def hold(self) -> None:
        """From now on every step waits to be allowed."""
        self._allowed = threading.Semaphore(0)

    def allow(self, steps: int = 1) -> None:
        """Allow so many steps."""
        assert self._allowed is not None, "hold first"
        self._allowed.release(steps)

    def check(self) -> None:
        """As told."""
        if self.device_error is not None:
            raise self.device_error

    def run(self, tasks: Sequence[Task], strategy: Strategy, progress: Progress) -> list[Output]:
        """Step by step in every stage; see `StageRunner.run`."""
        self.calls.append(tuple(tasks))
        steps = tasks[0].generation.steps
        for step in range(steps):
            if self._allowed is not None and not self._allowed.acquire(timeout=_PATIENCE_S):
                raise StageFailedError("the test allowed no step")
            progress(step + 1, steps)
        return [self._make(task) for task in tasks]
