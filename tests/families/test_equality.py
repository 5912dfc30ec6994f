"""Three processes draw what the monolithic pipeline draws in one, to the last bit."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES
from tridentserve.domain.work import Generation
from tridentserve.families import bridging, pictures
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

pytestmark = pytest.mark.models
PROCESS = Path(__file__).parent / "stage_process.py"


def case(height: int, width: int, **values: Any) -> dict[str, Any]:
    defaults = {
        "prompt": "a red cat on a mat",
        "negative_prompt": "",
        "steps": 3,
        "guidance": 5.0,
        "seed": 0,
        "count": 1,
        "output_format": "",
    }
    return {"height": height, "width": width, **defaults, **values}


CASES = [
    case(64, 64, seed=1),
    case(64, 64, seed=1, guidance=1.0),
    case(64, 64, seed=(1 << 63) - 1, guidance=0.0, steps=1),
    case(128, 128, seed=2, steps=4),
    case(64, 128, seed=3, prompt=""),
    case(128, 80, seed=4, guidance=7.5, prompt="eine Katze, ünïcödé " * 40),
    case(64, 64, seed=5, count=3),
]
GUIDED = [case(64, 64, seed=6, negative_prompt="dogs, blurred"), case(96, 64, negative_prompt="x")]
MODELS = ["sd3", "sd3-without-t5", "flux", "flux-schnell"]
LOADED = {
    "encode": {
        "sd3": ["text_encoder", "text_encoder_2", "text_encoder_3"],
        "sd3-without-t5": ["text_encoder", "text_encoder_2"],
        "flux": ["text_encoder", "text_encoder_2"],
        "flux-schnell": ["text_encoder", "text_encoder_2"],
    },
    "diffuse": {name: ["transformer"] for name in MODELS},
    "decode": {name: ["vae"] for name in MODELS},
}


def monolith(
    folder: Path, cases: list[dict[str, Any]], dtype: str = "float32"
) -> list[tuple["Tensor", list["Image"]]]:
    """Latents and pictures of diffusers' own pipeline, asked as its documentation says."""
    import diffusers
    import torch

    torch.set_num_threads(1)
    index = json.loads((folder / "model_index.json").read_text())
    absent = {n: None for n, value in index.items() if value == [None, None]}
    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        str(folder), dtype=getattr(torch, dtype), **absent
    )
    pipeline.set_progress_bar_config(disable=True)
    drawn = []
    for one in cases:
        values: dict[str, Any] = {
            "prompt": one["prompt"],
            "height": one["height"],
            "width": one["width"],
            "num_inference_steps": one["steps"],
            "guidance_scale": one["guidance"],
            "num_images_per_prompt": one["count"],
        }
        if one["negative_prompt"]:
            values["negative_prompt"] = one["negative_prompt"]
        drawn.append(
            tuple(
                pipeline(**values, generator=generators(one), output_type=kind).images
                for kind in ("latent", "pil")
            )
        )
    return drawn


def generators(one: dict[str, Any]) -> list[Any]:
    import torch

    return [torch.Generator().manual_seed(one["seed"] + number) for number in range(one["count"])]


def cases_of(name: str) -> list[dict[str, Any]]:
    return CASES + (GUIDED if name.startswith("sd3") else [])


@pytest.fixture(scope="module")
def work(
    model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder in which the three processes have left what they made of a model."""
    folder = tmp_path_factory.mktemp("work")
    jobs = []
    for name in MODELS:
        (folder / name).mkdir()
        jobs.append(
            {"folder": str(model(name)), "cases": cases_of(name), "work": str(folder / name)}
        )
    (folder / "jobs.json").write_text(json.dumps(jobs))
    for stage in STAGES:
        subprocess.run(
            [sys.executable, str(PROCESS), stage, str(folder / "jobs.json")],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
        )
    return lambda name: folder / name


@pytest.mark.parametrize("name", MODELS)
def test_each_process_loads_its_own_stage_and_no_more(
    name: str, work: Callable[[str], Path]
) -> None:
    reports = {stage: json.loads((work(name) / f"{stage}.json").read_text()) for stage in STAGES}

    assert {stage: report["modules"] for stage, report in reports.items()} == {
        stage: LOADED[stage][name] for stage in STAGES
    }
    assert len({report["digest"] for report in reports.values()}) == 1
    assert [(report["threads"], report["interop"]) for report in reports.values()] == [(1, 1)] * 3


@pytest.mark.parametrize("name", MODELS)
def test_split_and_monolith_are_bit_identical(
    name: str, model: Callable[[str], Path], work: Callable[[str], Path]
) -> None:
    import torch
    from PIL import Image

    cases, pixels = cases_of(name), set()
    for number, (latents, images) in enumerate(monolith(model(name), cases)):
        data = (work(name) / f"{number}.diffuse").read_bytes()
        split = torch.frombuffer(bytearray(data[-latents.nbytes :]), dtype=latents.dtype)
        assert torch.equal(split.reshape(latents.shape), latents), cases[number]
        for index, image in enumerate(images):
            picture = Image.open(io.BytesIO((work(name) / f"{number}.{index}.png").read_bytes()))
            assert picture.size == (cases[number]["width"], cases[number]["height"])
            assert picture.tobytes() == image.tobytes(), cases[number]
            pixels.add(picture.tobytes())
    # Equality says little where everything gives the same picture.
    assert len(pixels) == sum(one["count"] for one in cases) - ignored(name)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_halved_numbers_are_bit_identical_too(name: str, model: Callable[[str], Path]) -> None:
    """In this process, since only the arithmetic differs from the test above."""
    import torch

    options = LoadOptions(threads=1, dtype="bfloat16")
    encode, diffuse, decode = (Part(model(name), stage, options) for stage in STAGES)
    one = case(64, 96, seed=8, count=2)
    ((latents, images),) = monolith(model(name), [one], "bfloat16")
    size = Shape(height=one.pop("height"), width=one.pop("width"))
    generation = [Generation(**one, shape=size)]
    split = diffuse.diffuse(generation, encode.encode(generation), lambda done, steps: None)
    (files,) = decode.decode(generation, split)

    assert torch.equal(bridging.to_torch(split[0]["latents"], "cpu"), latents)
    assert list(files) == [pictures.encode_png(image) for image in images]


def ignored(name: str) -> int:
    """Cases that differ in nothing but a guidance that this model is not told."""
    return 1 if name == "flux-schnell" else 0
