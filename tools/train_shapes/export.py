"""Writes what was trained as a model folder that diffusers, and the stage services, load.

Weights are written as float16: training does not need more in the end, and the folder is half as
large. Loading chooses the type again. Beside them stands how the model wants to be asked, for
requests that do not say.
"""

import json
from pathlib import Path
from typing import Any

from train_shapes import checkpoints, model, scaling
from train_shapes.settings import Recipe
from tridentserve.families.advice import ADVICE


def trained_vae(recipe: Recipe, folder: Path) -> Any:
    """The VAE of a training folder, with its scaling.

    Raises:
        FileNotFoundError: none was trained there yet.
    """
    vae = model.vae(recipe.model)
    vae.load_state_dict(_task(folder, "vae")["vae"])
    return scaling.finished(recipe.model, vae, seed=recipe.seed)


def trained_pipeline(recipe: Recipe, folder: Path) -> Any:
    """The model of a training folder, from the last checkpoint.

    Raises:
        FileNotFoundError: it was not trained there yet.
    """
    import torch

    texts = [model.text_encoder(recipe.model, settings) for settings in recipe.model.texts]
    transformer = model.transformer(recipe.model)
    modules = torch.nn.ModuleDict({"texts": torch.nn.ModuleList(texts), "transformer": transformer})
    modules.load_state_dict(_task(folder, "flow")["mean"])
    return model.pipeline(
        recipe.model,
        vae=trained_vae(recipe, folder),
        texts=(texts[0].eval(), texts[1].eval()),
        denoiser=transformer.eval(),
    )


def export(recipe: Recipe, folder: Path, output: Path) -> None:
    """Write the model of a training folder to `output`."""
    import torch

    pipeline = trained_pipeline(recipe, folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(dtype=torch.float16).save_pretrained(output, safe_serialization=True)
    settings = recipe.model
    defaults = {
        "height": settings.usual_side,
        "width": settings.usual_side,
        "steps": settings.steps,
        "guidance": settings.guidance,
    }
    (output / ADVICE).write_text(json.dumps({"defaults": defaults}, indent=2) + "\n")


def _task(folder: Path, name: str) -> Any:
    path = folder / f"{name}.pt"
    if (state := checkpoints.load(path)) is None:
        raise FileNotFoundError(f"{path} is not there: train first")
    return state["task"]
