"""The profile of a pipeline on a cluster: read, and believed as far as it can be there.

Operator and router both read it, each for itself, and believe the same of it.

**Seconds** are believed as they stand: they only begin what measurements correct, and a profile of
faster hardware makes the first plans too small and the first deadlines too short, nothing worse.

**Memory** is another matter, since it is never measured and a request that is refused for want of
it is refused for good. A profile's figures hold for one kind of device, and no worker says how much
memory its devices have. So:

| profile | stage on a GPU | stage without one |
| --- | --- | --- |
| built in | no memory: all fits | no memory: all fits |
| of a ConfigMap | as it says, on devices as it says | no weights, no peaks: all fits |

A built-in profile is of NVIDIA L20 with 48 GB, and its peaks are assumptions; the nodes may have a
device twice as large, or a decoder that tiles. A ConfigMap was written for the pipeline, and its
`device` is its author's word for what the nodes have; where they differ, it should name the largest
ones, since too much costs a request that fails and is told so, too little refuses what would have
run. A stage on CPU has the memory of its pod, of which a profile says nothing.

It could surprise that a copy of a built-in profile in a ConfigMap refuses what the built-in one
lets in: whoever copies it says that the devices are like that.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.profiles import Profile
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_files
from tridentserve.manifest.base import Object
from tridentserve.manifest.profile_choice import BuiltinProfile, ConfigMapKey

FIELD = "spec.profile"
_REF = f"{FIELD}.configMapRef"
_LONGEST = 256 * 1024
"""Characters; the ones that ship have 6,000. Reading holds up all pipelines of the operator."""
_MOST_SAMPLES = 256
"""Of one stage; those that ship have up to 40. A cost model keeps 512 kinds of call of a stage and
needs room for those that are measured; without any, it would fail with every one that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedProfile:
    """A profile, and whose devices it speaks of."""

    profile: Profile
    vouched: bool
    """True where its author speaks of the nodes of this pipeline."""


def builtin(name: BuiltinProfile) -> ServedProfile:
    """One that ships."""
    return ServedProfile(profile=profile_files.builtin(name.value), vouched=False)


def from_config_map(ref: ConfigMapKey, namespace: str, body: Object | None) -> ServedProfile:
    """The profile that lies in a ConfigMap.

    Args:
        ref: which ConfigMap, and which of its keys.
        namespace: of both, for messages.
        body: the ConfigMap; None where there is none.

    Raises:
        InvalidFieldError: it is not there or wrong; names the field of the pipeline, the ConfigMap,
            the key, and the line or the field in the file.
    """
    where = f"ConfigMap {namespace}/{ref.name}"
    if body is None:
        raise InvalidFieldError(f"{_REF}.name", f"there is no {where}")
    data: Mapping[str, str] = body.get("data") or {}
    text = data.get(ref.key)
    if text is None:
        there = ", ".join(sorted(data)[:10]) or "none"
        raise InvalidFieldError(f"{_REF}.key", f"{where} has no text {ref.key}; it has: {there}")
    if len(text) > _LONGEST:
        raise InvalidFieldError(_REF, f"{where}, {ref.key}: is longer than {_LONGEST} characters")
    try:
        profile = profile_files.parse(text, ref.key)
    except InvalidFieldError as error:
        raise InvalidFieldError(_REF, f"{where}, {error}") from error
    stage, samples = Counter(one.stage for one in profile.samples).most_common(1)[0]
    if samples > _MOST_SAMPLES:
        problem = f"says {samples} kinds of call of {stage}; at most {_MOST_SAMPLES} are taken"
        raise InvalidFieldError(_REF, f"{where}, {ref.key}: {problem}")
    return ServedProfile(profile=profile, vouched=True)


def believed(served: ServedProfile, spec: PipelineSpec) -> Profile:
    """The profile with the memory that may be believed of it on a cluster."""
    profile = served.profile
    on_gpu = {one.stage for one in spec.stages if one.sharing is not Sharing.NONE}
    vouched = served.vouched and bool(on_gpu)
    return replace(
        profile,
        usable_bytes=profile.usable_bytes if vouched else 0,
        device_memory_bytes=profile.device_memory_bytes if vouched else 0,
        weights_bytes=tuple(
            (stage, nbytes if stage in on_gpu else 0) for stage, nbytes in profile.weights_bytes
        ),
        samples=tuple(
            one if one.stage in on_gpu else replace(one, peak_bytes=0) for one in profile.samples
        ),
    )
