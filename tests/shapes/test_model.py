"""Training computes what diffusers' pipeline computes, with fewer tokens."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from train_shapes import evaluate, model, text, zeros
from train_shapes.judge import judge, tally
from train_shapes.settings import SHAPES
from train_shapes.tally import BACKGROUND, COLORS, FORMS
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.work import Generation
from tridentserve.families.folder import open_folder
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part, describe
from tridentserve.families.registry import family_of

pytestmark = pytest.mark.models
SETTINGS = SHAPES.model
CAPTIONS = ["a large red circle above a blue square on a white background", "", "zebra"]
SHIPPED = Path(__file__).parents[2] / "examples/models/shapes"


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """Random weights."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoders = tuple(model.text_encoder(SETTINGS, text).eval() for text in SETTINGS.texts)
    return model.pipeline(
        SETTINGS,
        vae=model.vae(SETTINGS).eval(),
        texts=(encoders[0], encoders[1]),
        denoiser=model.transformer(SETTINGS).eval(),
    )


def test_the_context_is_the_pipelines_but_for_the_number_of_zero_tokens(pipeline: Any) -> None:
    import torch

    with torch.no_grad():
        expected, _, expected_pooled, _ = pipeline.encode_prompt(
            CAPTIONS, None, None, do_classifier_free_guidance=False
        )
        context, pooled = text.encode(
            [pipeline.text_encoder, pipeline.text_encoder_2],
            text.tokenize(pipeline.tokenizer, CAPTIONS),
        )

    assert expected.shape[1] == SETTINGS.max_tokens + zeros.ZERO_TOKENS
    assert not expected[:, SETTINGS.max_tokens :].any()
    torch.testing.assert_close(context, expected[:, : SETTINGS.max_tokens + 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(pooled, expected_pooled, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [64, 96, 128])
def test_one_zero_token_does_what_256_do(side: int) -> None:
    import torch

    torch.manual_seed(side)
    usual, training = model.transformer(SETTINGS).eval(), model.transformer(SETTINGS).eval()
    training.load_state_dict(usual.state_dict())
    zeros.install(training)
    latents = torch.randn(2, SETTINGS.latent_channels, side // 4, side // 4)
    words = torch.randn(2, SETTINGS.max_tokens, SETTINGS.text_width)
    others = {
        "hidden_states": latents,
        "pooled_projections": torch.randn(2, SETTINGS.text_width),
        "timestep": torch.tensor([20.0, 990.0]),
        "return_dict": False,
    }

    def padded(count: int) -> torch.Tensor:
        return torch.nn.functional.pad(words, (0, 0, 0, count))

    with torch.no_grad():
        expected = usual(encoder_hidden_states=padded(zeros.ZERO_TOKENS), **others)[0]
        got = training(encoder_hidden_states=padded(1), **others)[0]
        fewer = usual(encoder_hidden_states=padded(1), **others)[0]

    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert (fewer - expected).abs().max() > 1e-3, "a token more or less should matter"


def test_the_model_that_ships_is_small_and_names_no_place() -> None:
    weights = list(SHIPPED.rglob("*.safetensors"))
    texts = [path for path in SHIPPED.rglob("*") if path.suffix in (".json", ".txt")]

    assert len(weights) == 4
    assert sum(path.stat().st_size for path in weights) <= 12_000_000
    assert not [path for path in texts if re.search(r'"(/|~|file:)[a-z]', path.read_text())]


def test_the_model_that_ships_has_the_sizes_of_the_recipe() -> None:
    folder = open_folder(SHIPPED)
    info = describe(folder, family_of(folder))

    assert (info.default_shape.height, info.default_shape.width) == (SETTINGS.usual_side,) * 2
    assert (info.default_steps, info.default_guidance) == (SETTINGS.steps, SETTINGS.guidance)
    assert folder.integer("transformer", "num_layers") == SETTINGS.layers


@pytest.mark.parametrize("side", [64, 96, 128])
def test_the_stages_draw_what_the_pipeline_draws(side: int) -> None:
    parts = {stage: Part(SHIPPED, stage, LoadOptions(threads=1)) for stage in STAGES}
    generation = Generation(
        prompt="a large red circle left of a large blue square on a white background",
        negative_prompt="",
        shape=Shape(height=side, width=side),
        steps=SETTINGS.steps,
        guidance=SETTINGS.guidance,
        seed=7,
        count=1,
        output_format="image/png",
    )
    embeddings = parts[Stage.ENCODE].encode([generation])
    latents = parts[Stage.DIFFUSE].diffuse([generation], embeddings, lambda done, steps: None)
    ((png,),) = parts[Stage.DECODE].decode([generation], latents)
    split = np.asarray(Image.open(io.BytesIO(png)))
    drawing = evaluate.Drawing(
        side=side, steps=SETTINGS.steps, guidance=SETTINGS.guidance, seed=generation.seed
    )
    (whole,) = evaluate.draw(evaluate.load(SHIPPED), [generation.prompt], drawing)

    assert np.array_equal(split, whole)


def test_it_draws_what_captions_of_one_thing_say() -> None:
    scenes = [scene for scene in evaluate.held_out(120) if len(scene.things) == 1][:10]
    drawing = evaluate.Drawing(side=64, steps=SETTINGS.steps, guidance=SETTINGS.guidance)
    pictures = evaluate.draw(evaluate.load(SHIPPED), [scene.caption for scene in scenes], drawing)
    table = tally([judge(picture, scene) for picture, scene in zip(pictures, scenes, strict=True)])

    assert table[BACKGROUND].percent == 100
    assert table[COLORS].percent >= 80
    assert table[FORMS].percent >= 80
