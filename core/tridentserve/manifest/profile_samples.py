"""From a profile file to the profile: table rows as they are, encode and decode from assumptions.

| rows | seconds | peak bytes on each device |
| --- | --- | --- |
| diffuse, degree k | table, repaired as the variant says | kB/token x tokens x branches / k |
| diffuse, batch b up to the best | degree 1 x growth^log2(b), an upper bound | x b |
| encode | `encode_s` at every shape | `encode_peak_gb` |
| decode, untiled | `decode_s` x volume / reference volume | `decode_peak_gb` x the same ratio |
| decode, tiled | x `decode_tiled_factor` | at most `decode_tiled_peak_gb` |
| any that the file measured | the row, instead of the above | the row |

Sequence parallelism divides activations, never weights. Small pictures that are not cut into tiles
are charged for tiling all the same.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import log2

from tridentserve.domain.architecture import Architecture
from tridentserve.domain.fractions import Interference, Saturation
from tridentserve.domain.profiles import Assumption, Link, Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.manifest.profile_figures import Assumptions, Figure
from tridentserve.manifest.profile_schema import ProfileFile

_GB = 1_000_000_000


def profile_of(file: ProfileFile, variant: str) -> Profile:
    """The profile that a file describes, in one variant of its table (which must be there)."""
    assumed = file.assumptions
    bare = Profile(
        name=file.name,
        source=file.source,
        samples=(),
        steps=int(file.steps.value),
        guided=file.guided,
        architecture=Architecture(**file.architecture.model_dump(exclude={"source"})),
        weights_bytes=_weights(assumed),
        device_memory_bytes=round(file.device.memory * _GB),
        usable_bytes=round(file.device.usable * _GB),
        link=Link(
            bytes_per_s=assumed.link_gb_per_s.value * _GB,
            latency_s=assumed.link_latency_us.value / 1e6,
        ),
        first_shape_s=tuple(
            (stage, assumed.first_shape_s.value) for stage in (Stage.DIFFUSE, Stage.DECODE)
        ),
        best_batch=tuple(sorted(file.best_batch.batches.items())) if file.best_batch else (),
        saturation=_saturation(file),
        interference=_interference(assumed),
        assumptions=_named(assumed),
    )
    derived = (*_encode(file), *_diffuse(file, bare, variant), *_decode(file))
    by_kind = {_kind(one): one for one in (*derived, *_measured(file))}
    return replace(bare, samples=tuple(by_kind.values()))


def _kind(sample: Sample) -> tuple[object, ...]:
    """What two samples have in common that cannot both be true."""
    return sample.stage, sample.shape, sample.fraction_percent, sample.batch, sample.strategy


def _measured(file: ProfileFile) -> Iterator[Sample]:
    tiled = bool(file.assumptions.decode_tiled.value)
    for row in file.measured.rows if file.measured else ():
        if row.tiled is None or row.tiled == tiled:
            yield Sample(
                stage=row.stage,
                shape=row.shape,
                fixed_s=row.fixed_s,
                step_s=row.step_s,
                fraction_percent=row.fraction_percent,
                batch=row.batch,
                strategy=Strategy(
                    cfg=row.cfg, ulysses=row.ulysses, ring=row.ring, vae_tiles=row.vae_tiles
                ),
                peak_bytes=row.peak_bytes,
            )


def _encode(file: ProfileFile) -> Iterator[Sample]:
    assumed = file.assumptions
    for row in file.diffuse.rows:
        yield Sample(
            stage=Stage.ENCODE,
            shape=row.shape,
            fixed_s=assumed.encode_s.value,
            peak_bytes=_bytes(assumed.encode_peak_gb),
        )


def _diffuse(file: ProfileFile, profile: Profile, variant: str) -> Iterator[Sample]:
    repaired = {
        (repair.shape, repair.degree): repair.seconds
        for repair in file.diffuse.repairs.get(variant, ())
    }
    for row in file.diffuse.rows:
        for degree, raw in zip(file.diffuse.degrees, row.seconds, strict=True):
            seconds = repaired.get((row.shape, degree), raw)
            yield _step(file, profile, row.shape, seconds, degree=degree)
            for batch in _batches(profile, row.shape) if degree == 1 else ():
                grown = seconds * file.assumptions.batch_growth.value ** log2(batch)
                yield _step(file, profile, row.shape, grown, batch=batch)


def _step(
    file: ProfileFile,
    profile: Profile,
    shape: Shape,
    seconds: float,
    degree: int = 1,
    batch: int = 1,
) -> Sample:
    assert profile.architecture is not None
    tokens = profile.architecture.tokens(shape) * profile.branches * batch
    return Sample(
        stage=Stage.DIFFUSE,
        shape=shape,
        fixed_s=file.assumptions.diffuse_fixed_s.value,
        step_s=seconds,
        batch=batch,
        strategy=Strategy(ulysses=degree),
        peak_bytes=round(file.assumptions.diffuse_peak_kb_per_token.value * 1000 * tokens / degree),
    )


def _batches(profile: Profile, shape: Shape) -> Iterator[int]:
    """2, 4, ... up to the best batch of a shape."""
    batch = 2
    while batch <= profile.best_batch_of(shape):
        yield batch
        batch *= 2


def _decode(file: ProfileFile) -> Iterator[Sample]:
    assumed = file.assumptions
    tiled = bool(assumed.decode_tiled.value)
    factor = 1.0
    if tiled != (file.decode.seconds_of == "tiled"):
        factor = assumed.decode_tiled_factor.value ** (1 if tiled else -1)
    for row in file.diffuse.rows:
        share = row.shape.volume / file.decode.reference.volume
        peak_bytes = round(_bytes(assumed.decode_peak_gb) * share)
        if tiled:
            peak_bytes = min(peak_bytes, _bytes(assumed.decode_tiled_peak_gb))
        yield Sample(
            stage=Stage.DECODE,
            shape=row.shape,
            fixed_s=assumed.decode_s.value * factor * share,
            peak_bytes=peak_bytes,
        )


def _weights(assumed: Assumptions) -> tuple[tuple[Stage, int], ...]:
    return (
        (Stage.ENCODE, _bytes(assumed.encode_weights_gb)),
        (Stage.DIFFUSE, _bytes(assumed.diffuse_weights_gb)),
        (Stage.DECODE, _bytes(assumed.decode_weights_gb)),
    )


def _saturation(file: ProfileFile) -> tuple[tuple[Stage, Saturation], ...]:
    points = file.saturation.items()
    return tuple(
        (stage, Saturation(**point.model_dump(exclude={"source"}))) for stage, point in points
    )


def _interference(assumed: Assumptions) -> tuple[Interference, ...]:
    def factor(stage: Stage, beside: Stage) -> float:
        figure = (
            assumed.interference_encode
            if Stage.ENCODE in (stage, beside)
            else assumed.interference_diffuse_decode
        )
        return figure.value

    return tuple(
        Interference(stage=stage, beside=beside, factor=factor(stage, beside))
        for stage in STAGES
        for beside in STAGES
        if stage is not beside
    )


def _named(assumed: Assumptions) -> tuple[Assumption, ...]:
    figures: list[tuple[str, Figure]] = [
        (name, getattr(assumed, name)) for name in Assumptions.model_fields
    ]
    return tuple(
        Assumption(name=name, value=figure.value, unit=figure.unit, source=figure.source)
        for name, figure in figures
    )


def _bytes(figure: Figure) -> int:
    return round(figure.value * _GB)
