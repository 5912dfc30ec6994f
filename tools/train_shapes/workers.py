"""Processes that train together: each takes a share of every batch, and gradients are averaged.

On the CPU two processes of one thread are faster than one process of two: they meet once a step
instead of at every operation, so a core that somebody else uses for a moment holds up nobody.
"""

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Which of how many."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """The one that writes files and shows progress."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[Any]) -> None:
        """Give all workers the mean of their gradients."""
        import torch

        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for gradient in gradients:
            end = start + gradient.numel()
            gradient.copy_(flat[start:end].view_as(gradient))
            start = end


def run(work: Callable[..., None], count: int, *arguments: Any) -> None:
    """Call `work(worker, *arguments)` in `count` processes, and wait; arguments must pickle."""
    import torch

    processes: Any = torch.multiprocessing
    with tempfile.TemporaryDirectory() as folder:
        processes.spawn(_enter, (count, f"file://{folder}/meeting", work, arguments), nprocs=count)


def _enter(
    rank: int, count: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    import torch

    # Killed, the parent ends nobody, and two trainings would write one checkpoint.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    try:
        work(Worker(rank=rank, count=count), *arguments)
    finally:
        torch.distributed.destroy_process_group()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
