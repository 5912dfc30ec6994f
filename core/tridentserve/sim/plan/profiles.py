"""Which of the profiles that ship a pipeline's model has, by the names that the pipeline gives it.

Whoever plans for the first time has a pipeline and a recorded day, and has measured nothing. Names
are all that is looked at: a folder on another machine cannot be opened, and the class of a model
says nothing of its size. Later versions that the figures are not about (FLUX.2, SD 3.5) are left
alone, and so is whatever has no such name: a wrong profile is worse than none.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_files
from tridentserve.manifest.v1alpha1 import DiffusionPipeline

_PATTERNS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "cogvideox": re.compile(r"cogvideo-?x(?!-?1\.5)"),
        "flux": re.compile(r"flux(?![-_.]?[2-9](?!\d))"),
        "hunyuanvideo": re.compile(r"hunyuan[-_]?video(?![-_]?1\.5)"),
        "sd3": re.compile(r"(sd|stable[-_]?diffusion)[-_]?3(?![-_.]?[5-9])(?!\d)"),
    }
)


def named_by(pipeline: DiffusionPipeline) -> tuple[str, str]:
    """The profile that the model's names stand for, and which name it was.

    Raises:
        InvalidFieldError: they stand for none; says which there are.
    """
    names = {
        f"spec.model.uri {pipeline.spec.model.uri}": pipeline.spec.model.uri,
        f"metadata.name {pipeline.metadata.name}": pipeline.metadata.name,
    }
    for why, name in names.items():
        found = [one for one, pattern in _PATTERNS.items() if pattern.search(name.lower())]
        if len(found) == 1:
            return found[0], why
    raise InvalidFieldError(
        "--profile",
        f"is needed, since neither {' nor '.join(names)} is of a model whose profile ships"
        f" ({', '.join(profile_files.BUILTIN_NAMES)}); give one of these, or a file",
    )
