"""What may be said on the command line: each of these refuses what would fail, or draw nothing.

They are `type`s of argparse, which says the sentence on standard error and exits with 2, before
anything is trained, drawn or loaded.
"""

from argparse import ArgumentTypeError
from pathlib import Path

from train_shapes.settings import SHAPES

TRAININGS = ("vae", "flow")
_SIDE_STEP = 8
"""A patch of the transformer is 2 x 2 latents, and a latent 4 x 4 pixels."""


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is no whole number from 1 on")
    return int(text)


def side(text: str) -> int:
    """Pixels of a side that the model has positions for."""
    least, most = 2 * _SIDE_STEP, SHAPES.model.largest_side
    if not text.isdecimal() or int(text) not in range(least, most + 1, _SIDE_STEP):
        raise ArgumentTypeError(f"{text} is no multiple of {_SIDE_STEP} from {least} to {most}")
    return int(text)


def model_folder(text: str) -> Path:
    """A folder that holds a model."""
    path = Path(text)
    if not (path / "model_index.json").is_file():
        raise ArgumentTypeError(f"{path} is no model folder: it has no model_index.json")
    return path


def training_folder(text: str) -> Path:
    """A folder that a training has left its losses in."""
    path = Path(text)
    for name in TRAININGS:
        log = path / f"{name}.jsonl"
        if not log.is_file() or not log.stat().st_size:
            raise ArgumentTypeError(f"{log} holds no losses: train first")
    return path


def output(text: str) -> Path:
    """A file whose folder is there."""
    path = Path(text)
    if not path.parent.is_dir():
        raise ArgumentTypeError(f"there is no folder {path.parent}")
    if path.is_dir():
        raise ArgumentTypeError(f"{path} is a folder; name a file in it")
    return path


def picture(text: str) -> Path:
    """The same of a picture."""
    path = output(text)
    if path.suffix != ".png":
        raise ArgumentTypeError(f"{path} must end in .png")
    return path
