"""Which profile to plan with: the pipeline's own, the caller's, or by the names of its model.

A pipeline's `spec.profile` and the caller must not contradict each other: a plan by another profile
than the cluster goes by would be believed all the same. No cluster is asked, so a ConfigMap has to
be given as the file that it was made of.

Whoever plans for the first time has a pipeline and a recorded day, and has measured nothing. Names
are all that is looked at: a folder on another machine cannot be opened, and the class of a model
says nothing of its size. Later versions that the figures are not about (FLUX.2, SD 3.5) are left
alone, and so is whatever has no such name: a wrong profile is worse than none.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tridentserve.domain.profiles import Profile
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


def chosen(given: str | None, pipeline: DiffusionPipeline) -> tuple[Profile, str]:
    """The profile, and why this one.

    Args:
        given: by the caller: a file, or the name of one that ships; None for neither.
        pipeline: names one, or only its model.

    Raises:
        InvalidFieldError: none is named, two are, or the one that is cannot be read.
    """
    choice = pipeline.spec.profile
    name = choice.name if choice is not None else None
    ref = choice.config_map_ref if choice is not None else None
    if name is not None and given not in (None, name.value):
        raise InvalidFieldError(
            "--profile",
            f"{given} contradicts spec.profile.name, {name.value}; leave out one of them",
        )
    if name is not None:
        return profile_files.builtin(name.value), f"named by spec.profile.name of {pipeline.name}"
    if ref is not None and (given is None or given in profile_files.BUILTIN_NAMES):
        what = "is needed" if given is None else f"{given} contradicts spec.profile.configMapRef"
        raise InvalidFieldError(
            "--profile",
            f"{what}: give the file that {ref.key} of the ConfigMap {ref.name} was made of",
        )
    if given is None:
        found, why = named_by(pipeline)
        return profile_files.builtin(found), f"taken for {why}"
    if given in profile_files.BUILTIN_NAMES:
        return profile_files.builtin(given), "built in"
    return profile_files.read(Path(given)), f"read from {given}"


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
