"""Which GPUs CUDA shows this process, where the environment does not name them.

A device plugin that hands GPUs out by CDI sets `NVIDIA_VISIBLE_DEVICES` to `void` and mounts the
devices of the container all the same (the default of NVIDIA's GPU operator since v25.10).
"""


def uuids() -> tuple[str, ...]:
    """UUIDs in CUDA's order, each as the device plugin writes it; none without a GPU."""
    import torch

    numbers = range(torch.cuda.device_count())
    return tuple(f"GPU-{torch.cuda.get_device_properties(number).uuid}" for number in numbers)
