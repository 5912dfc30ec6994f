"""Which GPUs CUDA shows this process, where the environment does not name them.

A device plugin that hands GPUs out by CDI sets `NVIDIA_VISIBLE_DEVICES` to `void` and mounts the
devices of the container all the same (the default of NVIDIA's GPU operator since v25.10).
"""

from tridentserve.domain.names import ENV_VISIBLE_DEVICES
from tridentserve.errors import InvalidFieldError


def uuids() -> tuple[str, ...]:
    """UUIDs in CUDA's order, each as the device plugin writes it; none without a GPU.

    Raises:
        InvalidFieldError: CUDA counts GPUs that it cannot open, as where the driver is too old.
    """
    import torch

    try:
        numbers = range(torch.cuda.device_count())
        return tuple(f"GPU-{torch.cuda.get_device_properties(number).uuid}" for number in numbers)
    except RuntimeError as error:  # torch's own errors of the device are such too
        raise InvalidFieldError(
            ENV_VISIBLE_DEVICES, f"CUDA cannot open the GPUs of this pod: {error}"
        ) from error
