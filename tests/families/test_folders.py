"""Model folders that are not as they should be: one sentence that says what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.families.folder import ModelFolder, open_folder
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part

pytestmark = pytest.mark.models
Copy = Callable[[str], Path]
OPTIONS = LoadOptions(threads=1)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def set_in(name: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / name, lambda content: content.update(values))


def remove(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


INDEX = "model_index.json"
WEIGHTS = "text_encoder/model.safetensors"
VAE = "vae/config.json"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (remove(INDEX), "is not in .*; name a folder that diffusers' save_pretrained wrote"),
        (write(INDEX, b"{"), "model_index.json: is no JSON"),
        (write(INDEX, b"[]"), "model_index.json: is not a JSON object"),
        (write(INDEX, b"{}"), "_class_name: None names no class"),
        (set_in(INDEX, _class_name=["pipeline", "Mine"]), "names no class"),
        (
            set_in(INDEX, _class_name="WanPipeline"),
            "no installed family serves WanPipeline; served are FluxPipeline, StableDiffusion3",
        ),
        (set_in(INDEX, vae=["vae", "MyVae"]), "vae: .*code that comes with a model is never run"),
        (set_in(INDEX, vae="x", text_encoder=[1, 2]), "text_encoder: .* is not of diffusers or"),
        (set_in(INDEX, text_encoder=[None, None]), "text_encoder: this model has none, but encode"),
        (remove("text_encoder_2"), "text_encoder_2: is missing; copy the model folder as a whole"),
        (remove("tokenizer"), "tokenizer: is missing; copy the model folder as a whole"),
        (remove("tokenizer/tokenizer.json"), "tokenizer: has no vocabulary"),
        (remove("tokenizer_3/tokenizer.json"), "tokenizer_3: has no vocabulary"),
        (remove(WEIGHTS), "text_encoder: has neither model.safetensors nor an index of its shards"),
        (cut(WEIGHTS, 4), "text_encoder/model.safetensors: is no safetensors file"),
        (cut(WEIGHTS, 100), "text_encoder/model.safetensors: is no safetensors file"),
        (remove("vae"), "vae/config.json: is missing"),
        (write(VAE, b"\xff"), "vae/config.json: is no JSON"),
        (set_in(VAE, block_out_channels=[]), "block_out_channels: is not a list of sizes"),
        (set_in("transformer/config.json", sample_size=None), "sample_size: None is not a pos"),
        (set_in("transformer/config.json", patch_size=0), "patch_size: 0 is not a positive"),
    ],
)
def test_a_folder_that_cannot_be_served_is_said_so(
    copy_of: Copy, spoil: Callable[[Path], object], sentence: str
) -> None:
    folder = copy_of("sd3")
    spoil(folder)

    with pytest.raises(InvalidFieldError, match=sentence):
        Part(folder, Stage.ENCODE, OPTIONS)


@pytest.mark.parametrize("name", ["sd3", "sd3-without-t5", "flux"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_needs_no_weights_but_its_own(copy_of: Copy, name: str, stage: Stage) -> None:
    """So it cannot have loaded any others; configurations it may read."""
    folder = copy_of(name)
    own = {
        Stage.ENCODE: ("text_encoder", "text_encoder_2", "text_encoder_3"),
        Stage.DIFFUSE: ("transformer",),
        Stage.DECODE: ("vae",),
    }[stage]
    for weights in folder.glob("*/*.safetensors"):
        if weights.parent.name not in own:
            weights.unlink()

    assert Part(folder, stage, OPTIONS).stage is stage


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        (("tokenizer.json",), True),
        (("spiece.model", "tokenizer.json"), True),
        (("vocab.json", "merges.txt"), True),
        # transformers would need a library for it that we do not install.
        (("spiece.model", "tokenizer_config.json"), False),
        (("vocab.json",), False),
        (("merges.txt", "tokenizer_config.json"), False),
    ],
)
def test_a_tokenizer_has_its_vocabulary_in_one_of_two_ways(
    tmp_path: Path, names: tuple[str, ...], whole: bool
) -> None:
    (tmp_path / "tokenizer_2").mkdir()
    for name in names:
        (tmp_path / "tokenizer_2" / name).touch()
    folder = ModelFolder(
        path=tmp_path,
        class_name="FluxPipeline",
        components={"tokenizer_2": ("transformers", "T5TokenizerFast")},
    )

    if whole:
        folder.check_files("tokenizer_2")
    else:
        with pytest.raises(InvalidFieldError, match=r"has no vocabulary, which is tokenizer\.json"):
            folder.check_files("tokenizer_2")


@pytest.mark.parametrize(
    ("lacking", "there"),
    [("tokenizer_3", "text_encoder_3"), ("text_encoder_3", "tokenizer_3")],
)
def test_an_optional_encoder_and_its_tokenizer_go_together(
    copy_of: Copy, lacking: str, there: str
) -> None:
    folder = copy_of("sd3")
    set_in(INDEX, **{lacking: [None, None]})(folder)

    with pytest.raises(InvalidFieldError, match=f"{lacking}: this model has none, but {there}"):
        Part(folder, Stage.ENCODE, OPTIONS)
    Part(folder, Stage.DECODE, OPTIONS)


def test_optional_components_may_be_missing_from_the_index(copy_of: Copy) -> None:
    folder = copy_of("sd3-without-t5")

    def forget(index: dict[str, Any]) -> None:
        for name in [name for name, value in index.items() if value == [None, None]]:
            del index[name]

    edit(folder / INDEX, forget)
    for stage in STAGES:
        Part(folder, stage, OPTIONS)


def test_weights_that_can_run_code_are_not_read(copy_of: Copy) -> None:
    import torch

    folder = copy_of("sd3")
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, folder / "vae/diffusion_pytorch_model.bin")

    with pytest.raises(InvalidFieldError, match="other formats of weights can run code"):
        Part(folder, Stage.DECODE, OPTIONS)


def test_code_in_the_folder_is_not_run(copy_of: Copy) -> None:
    folder = copy_of("sd3")
    for name in ("pipeline.py", "vae/modeling.py", "transformer/SD3Transformer2DModel.py"):
        (folder / name).write_text("raise SystemExit('code of the model was run')")

    for stage in STAGES:
        Part(folder, stage, OPTIONS)


def test_a_dtype_that_is_none_is_refused(model: Copy) -> None:
    with pytest.raises(InvalidFieldError, match="dtype: 'float8'; use float32, bfloat16, float16"):
        Part(model("sd3"), Stage.DECODE, LoadOptions(dtype="float8"))


def test_a_gpu_that_is_not_there_is_said_so(model: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    with pytest.raises(InvalidFieldError, match="torch sees none; install a torch with CUDA"):
        Part(model("sd3"), Stage.DECODE, LoadOptions(device="cuda"))


def test_weights_are_loaded_in_the_dtype_that_was_asked(model: Copy) -> None:
    import torch

    part = Part(model("flux"), Stage.DIFFUSE, LoadOptions(threads=1, dtype="bfloat16"))

    assert part._pipeline.transformer.dtype is torch.bfloat16


def test_a_vae_of_another_scale_is_asked_of_its_configuration(copy_of: Copy) -> None:
    folder = copy_of("sd3")
    set_in(VAE, block_out_channels=[8, 8, 16])(folder)

    part = Part(folder, Stage.DIFFUSE, OPTIONS)
    assert part._pipeline.vae_scale_factor == 4
    assert part.info.size_multiple == 8
    assert open_folder(folder).vae_scale() == 4
