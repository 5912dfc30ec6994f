"""Loads one stage's share of a diffusers pipeline, and sets torch up so that runs repeat.

Safetensors only, files of the folder only, no code that comes with a model.
"""

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tridentserve.domain.stages import Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.families import libraries, weights
from tridentserve.families.folder import INDEX, ModelFolder
from tridentserve.families.protocol import Family

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a stage is to run."""

    dtype: str = "float32"
    threads: int | None = None
    """Of one call on the CPU; None leaves the choice to torch."""
    device: str = "cpu"


def configure_torch(options: LoadOptions) -> None:
    """Threads as told, and algorithms that give the same bits again.

    Raises:
        InvalidFieldError: the device is not there.
    """
    # cuBLAS reads it once, when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidFieldError(
            "device",
            "the worker was given a GPU, but torch sees none; install a torch with CUDA, or set"
            " gpu.sharing to None",
        )
    if options.threads:
        torch.set_num_threads(options.threads)
    # torch allows this once in a process, and only before its first work; another stage of the same
    # worker may have been here.
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling memory that is about to be written costs time and changes nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def load_pipeline(
    family: Family, folder: ModelFolder, stage: Stage, options: LoadOptions
) -> "DiffusionPipeline":
    """The pipeline object of diffusers with this stage's components and None for all others.

    Raises:
        InvalidFieldError: the folder lacks a component, or its whole weights as safetensors.
    """
    if options.dtype not in _DTYPES:
        raise InvalidFieldError("dtype", f"{options.dtype!r}; use {', '.join(_DTYPES)}")
    kept = _kept(family, folder, stage)
    for name in kept:
        folder.check_files(name)
    known = {name for of_stage in family.components.values() for name in of_stage}
    # Those too that the index does not mention: the pipeline takes no silence for None.
    others = sorted((known | set(folder.components)) - set(kept))
    libraries.tame()
    import diffusers
    import torch

    models = weights.load_models(folder, kept, getattr(torch, options.dtype))
    # The concrete class: the generic one loads some components that it was told to leave out.
    pipeline = getattr(diffusers, family.class_name).from_pretrained(
        str(folder.path), **models, **dict.fromkeys(others), local_files_only=True
    )
    for name in (*kept, *others):
        loaded = getattr(pipeline, name, None) is not None
        if loaded != (name in kept):
            raise InvalidFieldError(
                f"{INDEX}: {name}",
                f"was {'loaded' if loaded else 'left out'} for {stage}, which it should not be",
            )
    pipeline.set_progress_bar_config(disable=True)
    family.prepare(pipeline, stage, folder)
    on_device: DiffusionPipeline = pipeline.to(options.device)
    return on_device


def _kept(family: Family, folder: ModelFolder, stage: Stage) -> list[str]:
    """What of this stage's components the model has."""
    kept = [name for name in family.components[stage] if folder.has(name)]
    absent = set(family.components[stage]) - set(kept)
    if lacking := absent - family.optional:
        raise InvalidFieldError(
            f"{INDEX}: {min(lacking)}", f"this model has none, but {stage} needs it"
        )
    # An encoder without its tokenizer would load, and fail with every prompt.
    if absent and (halves := family.optional & set(kept)):
        raise InvalidFieldError(
            f"{INDEX}: {min(absent)}", f"this model has none, but {min(halves)}; it needs both"
        )
    return kept
