"""Runs a training task to its end, from wherever it was left.

A task does one step at a time and says what must be kept of it. All of a step's randomness follows
from the seed and the number of the step, so a run that was interrupted ends with the weights of one
that was not, and no state of a random generator needs keeping.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from train_shapes import checkpoints

_SAVE_EVERY_S = 120.0


class Task(Protocol):
    """One training."""

    name: str
    steps: int

    def step(self, number: int) -> dict[str, float]:
        """Do step `number`, counted from 0, and say its figures, `loss` among them."""
        ...

    def state(self) -> Mapping[str, Any]:
        """All that the next step depends on."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        ...


def run(task: Task, folder: Path, *, first: bool = True, stop_after: int | None = None) -> None:
    """Do the steps that are left, or no more than up to `stop_after`.

    Of several workers on one task only the `first` shows progress and writes the checkpoint and the
    log into `folder`.
    """
    path = folder / f"{task.name}.pt"
    done = 0
    if (state := checkpoints.load(path)) is not None:
        task.load(state["task"])
        done = int(state["steps"])
    end = task.steps if stop_after is None else min(stop_after, task.steps)
    if not first:
        for number in range(done, end):
            task.step(number)
        return
    log = checkpoints.Log(folder / f"{task.name}.jsonl", steps_done=done)
    saved_s = time.monotonic()
    with tqdm(total=task.steps, initial=done, desc=task.name, unit="step", mininterval=1) as bar:
        for number in range(done, end):
            figures = task.step(number)
            log.write(step=number, **figures)
            bar.set_postfix(loss=f"{figures['loss']:.4f}", refresh=False)
            bar.update()
            if time.monotonic() - saved_s > _SAVE_EVERY_S or number + 1 == end:
                checkpoints.save(path, {"steps": number + 1, "task": task.state()})
                saved_s = time.monotonic()
    log.close()
