"""What every stage of every family does: batches, progress, cancellation, refusals."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.domain.tensors import Tensor
from tridentserve.domain.work import Generation
from tridentserve.errors import CancelledError, InvalidFieldError, StageFailedError
from tridentserve.families import bridging
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part
from tridentserve.stage.runner import StageRunner, Task
from tridentserve_decoder.runner import DecodeRunner
from tridentserve_diffuser.runner import DiffuseRunner
from tridentserve_encoder.runner import EncodeRunner

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.models
Parts = dict[Stage, Part]
Load = Callable[[str], Parts]
Make = Callable[..., Generation]
FAMILIES = pytest.mark.parametrize("name", ["sd3", "flux"])


def no_progress(done: int, steps: int) -> None:
    pass


def latents_of(
    parts: Parts, *generations: Generation, progress: Callable[[int, int], None] = no_progress
) -> list[Mapping[str, Tensor]]:
    inputs = [tensors for one in generations for tensors in parts[Stage.ENCODE].encode([one])]
    return list(parts[Stage.DIFFUSE].diffuse(generations, inputs, progress))


def draw(parts: Parts, generation: Generation) -> tuple[bytes, ...]:
    (files,) = parts[Stage.DECODE].decode([generation], latents_of(parts, generation))
    return files


def numbers(tensors: Mapping[str, Tensor]) -> "torch.Tensor":
    return bridging.to_torch(tensors["latents"], "cpu")


def pixels(file: bytes) -> list[int]:
    from PIL import Image

    return list(Image.open(io.BytesIO(file)).convert("RGB").tobytes())


@FAMILIES
@pytest.mark.parametrize(
    "change",
    [{"prompt": "a blue dog"}, {"seed": 2}, {"steps": 4}, {"guidance": 2.0}],
    ids=["prompt", "seed", "steps", "guidance"],
)
def test_what_is_asked_changes_the_picture(
    parts: Load, request_for: Make, name: str, change: dict[str, Any]
) -> None:
    assert draw(parts(name), request_for()) != draw(parts(name), request_for(**change))


def test_a_negative_prompt_changes_the_picture(parts: Load, request_for: Make) -> None:
    plain, negative = request_for(), request_for(negative_prompt="dogs")

    assert draw(parts("sd3"), plain) != draw(parts("sd3"), negative)


def test_without_guidance_nothing_is_encoded_for_the_negative_prompt(
    parts: Load, request_for: Make
) -> None:
    (guided,) = parts("sd3")[Stage.ENCODE].encode([request_for(guidance=1.01)])
    (unguided,) = parts("sd3")[Stage.ENCODE].encode([request_for(guidance=1.0)])

    assert set(guided) - set(unguided) == {
        "negative_prompt_embeds",
        "negative_pooled_prompt_embeds",
    }


@FAMILIES
def test_the_same_request_gives_the_same_bytes(parts: Load, request_for: Make, name: str) -> None:
    assert draw(parts(name), request_for(count=2)) == draw(parts(name), request_for(count=2))


@FAMILIES
def test_pictures_of_one_request_are_drawn_from_successive_seeds(
    parts: Load, request_for: Make, name: str
) -> None:
    import torch

    (together,) = latents_of(parts(name), request_for(seed=5, count=3))
    alone = [latents_of(parts(name), request_for(seed=5 + i))[0] for i in range(3)]

    assert torch.allclose(numbers(together), torch.cat([numbers(one) for one in alone]), atol=1e-4)


@FAMILIES
def test_a_batch_gives_each_request_what_it_gets_alone_but_for_the_last_bits(
    parts: Load, request_for: Make, name: str
) -> None:
    import torch

    batch = [
        request_for(prompt="a red cat", seed=1),
        request_for(prompt="two blue dogs in the rain", seed=2, count=2),
        request_for(prompt="", seed=3),
    ]
    part = parts(name)
    embeddings = part[Stage.ENCODE].encode(batch)
    latents = part[Stage.DIFFUSE].diffuse(batch, embeddings, no_progress)
    files = part[Stage.DECODE].decode(batch, latents)

    for one, joint, drawn in zip(batch, latents, files, strict=True):
        assert torch.allclose(numbers(joint), numbers(latents_of(part, one)[0]), atol=1e-4)
        for together, alone in zip(drawn, draw(part, one), strict=True):
            steps = zip(pixels(together), pixels(alone), strict=True)
            assert max(abs(a - b) for a, b in steps) <= 1


@FAMILIES
def test_every_step_is_told(parts: Load, request_for: Make, name: str) -> None:
    told: list[tuple[int, int]] = []
    latents_of(parts(name), request_for(steps=5), progress=lambda *at: told.append(at))

    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


@FAMILIES
@pytest.mark.parametrize("last", [1, 3])
def test_a_call_cancelled_at_any_step_leaves_the_next_one_as_it_was(
    parts: Load, request_for: Make, name: str, last: int
) -> None:
    (before,) = latents_of(parts(name), request_for(seed=9))
    told: list[int] = []

    def cancel(done: int, steps: int) -> None:
        told.append(done)
        if done == last:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        latents_of(parts(name), request_for(steps=6), progress=cancel)
    (after,) = latents_of(parts(name), request_for(seed=9))

    assert told == list(range(1, last + 1))
    assert before == after


@FAMILIES
def test_what_is_handed_in_is_not_written(parts: Load, request_for: Make, name: str) -> None:
    (embeddings,) = parts(name)[Stage.ENCODE].encode([request_for()])
    copies = {n: bytes(tensor.data) for n, tensor in embeddings.items()}
    frozen = {n: replace(t, data=t.data.toreadonly()) for n, t in embeddings.items()}
    parts(name)[Stage.DIFFUSE].diffuse([request_for()], [embeddings], no_progress)
    parts(name)[Stage.DIFFUSE].diffuse([request_for()], [frozen], no_progress)

    assert {n: bytes(tensor.data) for n, tensor in embeddings.items()} == copies


@FAMILIES
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("height", {"shape": Shape(height=65, width=64)}),
        ("height", {"shape": Shape(height=0, width=64)}),
        ("width", {"shape": Shape(height=64, width=72)}),
        ("frames", {"shape": Shape(height=64, width=64, frames=2)}),
        ("steps", {"steps": 0}),
        ("count", {"count": 0}),
        ("output_format", {"output_format": "image/jpeg"}),
    ],
)
def test_what_no_model_can_draw_is_refused_by_every_stage(
    parts: Load,
    request_for: Make,
    name: str,
    stage: Stage,
    field: str,
    change: dict[str, Any],
) -> None:
    with pytest.raises(InvalidFieldError) as refusal:
        call(parts(name)[stage], [replace(request_for(), **change)], [{}])

    assert refusal.value.field == field


def call(part: Part, generations: list[Generation], inputs: list[Mapping[str, Tensor]]) -> object:
    if part.stage is Stage.ENCODE:
        return part.encode(generations)
    if part.stage is Stage.DIFFUSE:
        return part.diffuse(generations, inputs, no_progress)
    return part.decode(generations, inputs)


def test_flux_refuses_a_negative_prompt(parts: Load, request_for: Make) -> None:
    with pytest.raises(InvalidFieldError, match="flux has none; leave it out") as refusal:
        parts("flux")[Stage.ENCODE].encode([request_for(negative_prompt="dogs")])

    assert refusal.value.field == "negative_prompt"


def test_sd3_refuses_sides_beyond_its_positions(parts: Load, request_for: Make) -> None:
    parts("sd3")[Stage.ENCODE].encode([request_for(height=1024)])

    with pytest.raises(InvalidFieldError, match="width: 1040 is more than this model's 1024"):
        parts("sd3")[Stage.ENCODE].encode([request_for(width=1040)])


@FAMILIES
def test_a_batch_of_different_work_is_refused(parts: Load, request_for: Make, name: str) -> None:
    batch = [request_for(), request_for(height=128)]
    inputs = parts(name)[Stage.ENCODE].encode(batch)

    with pytest.raises(StageFailedError, match="different shapes"):
        parts(name)[Stage.DIFFUSE].diffuse(batch, inputs, no_progress)


@FAMILIES
def test_hand_offs_of_another_kind_are_refused(parts: Load, request_for: Make, name: str) -> None:
    part, one = parts(name), request_for()
    embeddings, latents = part[Stage.ENCODE].encode([one])[0], latents_of(part, one)[0]

    with pytest.raises(StageFailedError):
        part[Stage.DIFFUSE].diffuse([one], [latents], no_progress)
    with pytest.raises(StageFailedError):
        part[Stage.DIFFUSE].diffuse([one], [{}], no_progress)
    with pytest.raises(StageFailedError):
        part[Stage.DECODE].decode([one], [embeddings])
    with pytest.raises(StageFailedError, match="another number"):
        part[Stage.DECODE].decode([replace(one, count=2)], [latents])


@FAMILIES
def test_latents_that_are_no_numbers_are_no_picture(
    parts: Load, request_for: Make, name: str
) -> None:
    import torch

    (latents,) = latents_of(parts(name), request_for())
    broken = numbers(latents).clone()
    broken.view(-1)[7] = torch.nan

    with pytest.raises(StageFailedError, match="no numbers"):
        parts(name)[Stage.DECODE].decode(
            [request_for()], [{"latents": bridging.from_torch(broken)}]
        )


@FAMILIES
def test_a_vae_that_overflows_draws_no_black_picture(
    copy_of: Callable[[str], Path], parts: Load, request_for: Make, name: str
) -> None:
    latents = latents_of(parts(name), request_for())
    part = Part(copy_of(name), Stage.DECODE, LoadOptions(threads=1))
    part._pipeline.vae.decoder.conv_out.weight.data.fill_(3e38)

    with pytest.raises(StageFailedError, match="no numbers; try another dtype"):
        part.decode([request_for()], latents)


@FAMILIES
def test_all_stages_tell_the_same_of_their_model(parts: Load, name: str) -> None:
    infos = {part.info for part in parts(name).values()}

    assert len(infos) == 1
    (info,) = infos
    assert info.family == name
    assert info.default_shape == Shape(height=64, width=64)
    assert (info.size_multiple, info.negative_prompt) == (16, name == "sd3")


@pytest.mark.parametrize(
    ("name", "steps", "guidance"), [("sd3", 28, 7.0), ("flux", 28, 3.5), ("flux-schnell", 4, 0.0)]
)
def test_defaults_are_those_of_the_model(
    parts: Load, name: str, steps: int, guidance: float
) -> None:
    info = parts(name)[Stage.ENCODE].info

    assert (info.default_steps, info.default_guidance) == (steps, guidance)


@FAMILIES
def test_the_services_runners_hand_off_as_the_parts_do(
    parts: Load, request_for: Make, name: str
) -> None:
    part, one = parts(name), request_for(count=2)
    runners: list[StageRunner] = [
        EncodeRunner(part[Stage.ENCODE]),
        DiffuseRunner(part[Stage.DIFFUSE]),
        DecodeRunner(part[Stage.DECODE]),
    ]
    inputs: Mapping[str, Tensor] = {}
    for runner in runners:
        (output,) = runner.run([Task(generation=one, inputs=inputs)], SINGLE, no_progress)
        inputs = output.tensors

    assert [runner.stage for runner in runners] == list(STAGES)
    assert all(runner.strategies == (SINGLE,) for runner in runners)
    assert all(runner.model == part[Stage.ENCODE].info for runner in runners)
    assert [media.mime_type for media in output.media] == ["image/png"] * 2
    assert tuple(media.data for media in output.media) == draw(part, one)
