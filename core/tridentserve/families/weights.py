"""Loads the models of a folder, and refuses one of which a tensor is not in its files.

Left to themselves, transformers fills what is missing with random numbers and says so in a warning,
so that every worker draws other pictures; diffusers leaves it without memory, and the move to the
device fails without a name. So both are asked what they found.
"""

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tridentserve.errors import InvalidFieldError
from tridentserve.families.folder import ModelFolder

if TYPE_CHECKING:
    import torch

_NAMED = 3
"""Tensors that a complaint names; a model may lack hundreds."""


def load_models(
    folder: ModelFolder, components: Iterable[str], dtype: "torch.dtype"
) -> "dict[str, torch.nn.Module]":
    """Those of the components that have weights; tokenizers and the like are left out.

    Raises:
        InvalidFieldError: one cannot be read, or is not whole; names it and the tensors.
    """
    import torch

    models = {}
    for component in components:
        found = _class_of(folder, component)
        if isinstance(found, type) and issubclass(found, torch.nn.Module):
            folder.config(component)  # refused by name where it is missing
            models[component] = _load(found, folder, component, dtype)
    return models


def _class_of(folder: ModelFolder, component: str) -> object:
    library, class_name = folder.components[component] or ("", "")
    return getattr(importlib.import_module(library), class_name, None)


def _load(
    model_class: Any, folder: ModelFolder, component: str, dtype: "torch.dtype"
) -> "torch.nn.Module":
    from safetensors import SafetensorError

    try:
        model, found = model_class.from_pretrained(
            str(folder.path / component),
            dtype=dtype,
            variant=folder.variant(component),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            # Not ignored, but told instead of raised.
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise InvalidFieldError(component, f"cannot be loaded: {error}") from error
    # The index of shards may promise a tensor that no shard has.
    empty = {name for name, value in model.named_parameters() if value.is_meta}
    wrong = {name: f"{name} is {tuple(has)}" for name, has, _ in found["mismatched_keys"]}
    if lacking := sorted({*found["missing_keys"], *empty} - set(wrong)):
        raise InvalidFieldError(
            component, f"has no {_first(lacking)} in its weights; copy the model folder as a whole"
        )
    if wrong:
        raise InvalidFieldError(
            component,
            f"has weights of other sizes than config.json says: {_first(sorted(wrong.values()))};"
            " copy the model folder as a whole",
        )
    whole: torch.nn.Module = model
    return whole


def _first(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
