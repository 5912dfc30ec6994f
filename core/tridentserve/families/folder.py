"""A model folder as diffusers saves it, seen through its JSON files.

Reading configurations needs neither torch nor weights: a stage learns from them what it must know
of components that it does not load. Every complaint names the file and says what would be right.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tridentserve.errors import InvalidFieldError

INDEX = "model_index.json"
_STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
"""How each library names its files of weights: STEM[.VARIANT].safetensors, or the index of shards,
STEM.safetensors.index[.VARIANT].json."""
_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A folder whose index has been read."""

    path: Path
    class_name: str
    components: Mapping[str, tuple[str, str] | None]
    """Library and class of each component by name; None where the model has none of it."""

    def has(self, component: str) -> bool:
        """Whether the model has this component."""
        return self.components.get(component) is not None

    def config(self, component: str) -> Mapping[str, Any]:
        """The configuration of a component.

        Raises:
            InvalidFieldError: not there, or no JSON object.
        """
        for name in ("config.json", "scheduler_config.json"):
            if (self.path / component / name).is_file():
                return _read_object(self.path, f"{component}/{name}")
        raise InvalidFieldError(
            f"{component}/config.json", "is missing; copy the model folder as a whole"
        )

    def optional_object(self, name: str) -> Mapping[str, object]:
        """What a JSON file beside the index says; nothing where there is no such file.

        Raises:
            InvalidFieldError: it cannot be read, or is no JSON object.
        """
        return _read_object(self.path, name) if (self.path / name).exists() else {}

    def check_files(self, component: str) -> None:
        """Refuse a component whose files are not there, before a library says so in its own way.

        Raises:
            InvalidFieldError: no folder, a model without all its weights as safetensors, or a
                tokenizer without its vocabulary.
        """
        folder = self.path / component
        if not folder.is_dir():
            raise InvalidFieldError(component, "is missing; copy the model folder as a whole")
        if (folder / "config.json").is_file():
            self.variant(component)
        _, class_name = self.components.get(component) or ("", "")
        # transformers would make up an almost empty one, and every picture be wrong.
        if "Tokenizer" in class_name and not any(
            all((folder / name).is_file() for name in names) for names in _VOCABULARIES
        ):
            raise InvalidFieldError(
                component,
                "has no vocabulary, which is tokenizer.json, or vocab.json with merges.txt (a"
                " spiece.model alone is not read); copy the model folder as a whole",
            )

    def variant(self, component: str) -> str | None:
        """Which variant of a model's weights to load, as `fp16`; None where it has the plain ones.

        Raises:
            InvalidFieldError: no weights as safetensors, not all of them, or several variants.
        """
        library, _ = self.components[component] or ("", "")
        stem = _STEMS[library]
        pattern = re.compile(rf"{stem}(?:(\.\w+)?\.safetensors|\.safetensors\.index(\.\w+)?\.json)")
        files = (self.path / component).glob("*.safetensors*")
        names = [path.name for path in files if path.is_file()]  # no link that leads nowhere
        matches = filter(None, map(pattern.fullmatch, names))
        suffixes = sorted({match[1] or match[2] or "" for match in matches})
        if not suffixes:
            raise InvalidFieldError(
                component,
                f"has neither {stem}.safetensors nor an index of its shards; copy the model folder"
                " as a whole (other formats of weights can run code and are not read)",
            )
        lacking = {one: self._lacking(component, library, one, names) for one in suffixes}
        whole = [suffix for suffix in suffixes if not lacking[suffix]]
        if not whole:
            raise InvalidFieldError(
                component,
                f"lacks {', '.join(lacking[suffixes[0]])}, of which an index tells; copy the model"
                " folder as a whole",
            )
        # The suffix of the plain ones is empty, and so the first.
        if whole[0] and len(whole) > 1:
            raise InvalidFieldError(
                component, f"has weights as {' and '.join(whole)} only; remove all but one"
            )
        return whole[0].removeprefix(".") or None

    def _lacking(self, component: str, library: str, suffix: str, names: list[str]) -> list[str]:
        """Shards that a variant's index tells of and that are not there."""
        stem = _STEMS[library]
        # transformers takes a whole file before shards, diffusers after them.
        if library == "transformers" and f"{stem}{suffix}.safetensors" in names:
            return []
        index = f"{component}/{stem}.safetensors.index{suffix}.json"
        files = self.optional_object(index).get("weight_map", {})
        if not isinstance(files, dict):
            raise InvalidFieldError(f"{index}: weight_map", "is not a JSON object")
        return sorted({str(name) for name in files.values()} - set(names))

    def integer(self, component: str, key: str) -> int:
        """A positive whole number of a component's configuration.

        Raises:
            InvalidFieldError: not there, or something else.
        """
        value = self.config(component).get(key)
        if type(value) is not int or value < 1:
            raise InvalidFieldError(
                f"{component}/config.json: {key}", f"{value!r} is not a positive whole number"
            )
        return value

    def vae_scale(self) -> int:
        """Pixels a side of one latent: each level of the VAE but the first halves.

        Raises:
            InvalidFieldError: the configuration does not say.
        """
        levels = self.config("vae").get("block_out_channels")
        if not isinstance(levels, list) or not levels:
            raise InvalidFieldError("vae/config.json: block_out_channels", "is not a list of sizes")
        return int(2 ** (len(levels) - 1))


def open_folder(path: Path) -> ModelFolder:
    """Read a folder's index.

    Raises:
        InvalidFieldError: no index, or one that asks for code from elsewhere.
    """
    if not (path / INDEX).is_file():
        raise InvalidFieldError(
            INDEX, f"is not in {path}; name a folder that diffusers' save_pretrained wrote"
        )
    index = _read_object(path, INDEX)
    class_name = index.get("_class_name")
    if not isinstance(class_name, str):
        # A list would name a module of the folder to run.
        raise InvalidFieldError(f"{INDEX}: _class_name", f"{class_name!r} names no class")
    return ModelFolder(
        path=path,
        class_name=class_name,
        components={
            name: _component(name, value)
            for name, value in index.items()
            if not name.startswith("_") and isinstance(value, list)
        },
    )


def _component(name: str, value: list[object]) -> tuple[str, str] | None:
    match value:
        case [None, None]:
            return None
        case [str(library), str(class_name)] if library in _STEMS:
            return library, class_name
    raise InvalidFieldError(
        f"{INDEX}: {name}",
        f"{value!r} is not of {' or '.join(_STEMS)}; code that comes with a model is never run",
    )


def _read_object(path: Path, name: str) -> Mapping[str, Any]:
    try:
        value = json.loads((path / name).read_bytes())
    except OSError as error:
        raise InvalidFieldError(name, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidFieldError(name, f"is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidFieldError(name, "is not a JSON object")
    return value
