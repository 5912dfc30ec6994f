"""The whole training: the VAE, then the flow on its latents, then the export.

Each goes on where it was left, so that the same call finishes what a kill cut short.
"""

from pathlib import Path

from train_shapes import loop
from train_shapes.export import export, trained_vae
from train_shapes.flow_training import FlowTask
from train_shapes.settings import Recipe
from train_shapes.vae_training import VaeTask
from train_shapes.workers import Worker, run


def train(recipe: Recipe, folder: Path, output: Path, *, workers: int) -> None:
    """Train in `folder`, which keeps checkpoints and logs, and write the model to `output`."""
    run(train_vae, workers, recipe, folder)
    run(train_flow, workers, recipe, folder)
    export(recipe, folder, output)


def train_vae(worker: Worker, recipe: Recipe, folder: Path) -> None:
    """One worker's part of the first training."""
    loop.run(VaeTask(recipe, worker), folder, first=worker.first)


def train_flow(worker: Worker, recipe: Recipe, folder: Path) -> None:
    """One worker's part of the second training."""
    loop.run(FlowTask(recipe, trained_vae(recipe, folder), worker), folder, first=worker.first)
