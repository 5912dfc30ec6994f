"""Weights are loaded whole, whatever their files are called, or refused by name; never made up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation
from tridentserve.errors import InvalidFieldError
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.models
Copy = Callable[[str], Path]
Tensors = dict[str, "torch.Tensor"]
OPTIONS = LoadOptions(threads=1)
FILES = {
    "text_encoder": "model",
    "text_encoder_2": "model",
    "text_encoder_3": "model",
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
STAGES = {"transformer": Stage.DIFFUSE, "vae": Stage.DECODE}


def rewrite(file: Path, change: Callable[[Tensors], Tensors]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file(change(tensors), file, metadata={"format": "pt"})


def file_of(folder: Path, component: str) -> Path:
    return folder / component / f"{FILES[component]}.safetensors"


def load(folder: Path, component: str) -> Part:
    return Part(folder, STAGES.get(component, Stage.ENCODE), OPTIONS)


def without(*lacking: str) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        for name in lacking:
            del tensors[name]
        return tensors

    return change


def shard(folder: Path, component: str, variant: str = "") -> tuple[Path, Path]:
    """Cut a component's weights in two files, as large models come."""
    from safetensors.torch import load_file, save_file

    whole, stem = file_of(folder, component), FILES[component]
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    shards: list[Path] = []
    weight_map: dict[str, str] = {}
    for number, half in enumerate(halves, 1):
        path = whole.with_name(f"{stem}{variant}-{number:05}-of-00002.safetensors")
        save_file({name: tensors[name] for name in half}, path, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(half, path.name)
        shards.append(path)
    index = whole.with_name(f"{stem}.safetensors.index{variant}.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return shards[0], shards[1]


@pytest.mark.parametrize(
    ("component", "tensor"),
    [
        ("text_encoder", "text_projection.weight"),
        ("text_encoder_2", "text_model.final_layer_norm.bias"),
        ("text_encoder_3", "shared.weight"),
        ("text_encoder_3", "encoder.block.1.layer.0.SelfAttention.q.weight"),
        ("transformer", "proj_out.weight"),
        ("vae", "decoder.conv_in.weight"),
    ],
)
def test_a_model_that_lacks_a_tensor_is_refused_by_name(
    copy_of: Copy, component: str, tensor: str
) -> None:
    folder = copy_of("sd3")
    rewrite(file_of(folder, component), without(tensor))

    with pytest.raises(InvalidFieldError, match=f"has no .*{tensor} in its weights") as refusal:
        load(folder, component)
    assert refusal.value.field == component


def test_of_many_tensors_that_are_missing_some_are_named(copy_of: Copy) -> None:
    folder = copy_of("flux")
    rewrite(
        file_of(folder, "text_encoder"),
        lambda tensors: {"embeddings.token_embedding.weight": tensors.popitem()[1]},
    )

    with pytest.raises(InvalidFieldError, match=r"text_encoder: has no (\S+, ){2}\S+ and 32 more"):
        load(folder, "text_encoder")


@pytest.mark.parametrize(
    ("component", "tensor"),
    [("text_encoder", "text_projection.weight"), ("vae", "decoder.conv_in.bias")],
)
def test_a_tensor_of_another_size_is_named(copy_of: Copy, component: str, tensor: str) -> None:
    folder = copy_of("sd3")
    rewrite(
        file_of(folder, component),
        lambda t: {**t, tensor: t[tensor][: len(t[tensor]) // 2].clone()},
    )

    with pytest.raises(InvalidFieldError, match=f"of other sizes .*: {tensor} is") as refusal:
        load(folder, component)
    assert refusal.value.field == component


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_a_file_that_was_cut_short_is_refused_by_name(copy_of: Copy, component: str) -> None:
    folder = copy_of("sd3")
    file = file_of(folder, component)
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(InvalidFieldError, match=f"{component}: cannot be loaded"):
        load(folder, component)


def test_a_model_without_its_configuration_is_refused_by_name(copy_of: Copy) -> None:
    folder = copy_of("sd3")
    (folder / "text_encoder/config.json").unlink()

    with pytest.raises(InvalidFieldError, match=r"text_encoder/config\.json: is missing"):
        load(folder, "text_encoder")


def prefixed(tensors: Tensors) -> Tensors:
    """As published: with a prefix, and positions that are computed today."""
    import torch

    named = {f"text_model.{name.removeprefix('text_model.')}": t for name, t in tensors.items()}
    return {**named, "text_model.embeddings.position_ids": torch.arange(77)[None]}


def embedded_twice(tensors: Tensors) -> Tensors:
    return {**tensors, "encoder.embed_tokens.weight": tensors["shared.weight"].clone()}


def embedded_in_the_encoder(tensors: Tensors) -> Tensors:
    return without("shared.weight")(embedded_twice(tensors))


@pytest.mark.parametrize(
    ("component", "change"),
    [
        ("text_encoder", prefixed),
        ("text_encoder_2", embedded_twice),
        ("text_encoder_2", embedded_in_the_encoder),
    ],
)
def test_text_encoders_as_they_are_published_lack_nothing(
    copy_of: Copy,
    model: Copy,
    request_for: Callable[..., Generation],
    component: str,
    change: Callable[[Tensors], Tensors],
) -> None:
    folder, asked = copy_of("flux"), [request_for()]
    rewrite(file_of(folder, component), change)

    assert load(folder, component).encode(asked) == load(model("flux"), component).encode(asked)


def rename(folder: Path, component: str, variant: str) -> None:
    file = file_of(folder, component)
    file.rename(file.with_name(f"{FILES[component]}.{variant}.safetensors"))


@pytest.mark.parametrize("component", FILES)
def test_the_only_variant_of_the_weights_is_loaded(copy_of: Copy, component: str) -> None:
    folder = copy_of("sd3")
    rename(folder, component, "fp16")

    load(folder, component)


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_are_loaded(copy_of: Copy, component: str, variant: str) -> None:
    folder = copy_of("sd3")
    shard(folder, component, variant)

    load(folder, component)


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_plain_weights_come_before_a_variant(copy_of: Copy, component: str) -> None:
    folder = copy_of("sd3")
    file = file_of(folder, component)
    file.with_name(f"{FILES[component]}.fp16.safetensors").write_bytes(file.read_bytes())
    rewrite(file.with_name(f"{FILES[component]}.fp16.safetensors"), lambda tensors: {})

    load(folder, component)


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_variant_that_is_whole_comes_before_plain_shards_that_are_not_there(
    copy_of: Copy, component: str, cut: bool
) -> None:
    """A download of `*.json` and `*fp16*` brings the plain index too."""
    folder = copy_of("sd3")
    plain = file_of(folder, component).with_name(f"{FILES[component]}.safetensors.index.json")
    if cut:
        shard(folder, component, ".fp16")
    else:
        rename(folder, component, "fp16")
    plain.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "gone.safetensors"}}))

    load(folder, component)


def test_several_variants_are_refused_by_name(copy_of: Copy) -> None:
    folder = copy_of("sd3")
    file = file_of(folder, "vae")
    for variant in ("fp16", "bf16"):
        path = file.with_name(f"diffusion_pytorch_model.{variant}.safetensors")
        path.write_bytes(file.read_bytes())
    file.unlink()

    with pytest.raises(InvalidFieldError, match=r"vae: has weights as \.bf16 and \.fp16 only"):
        load(folder, "vae")


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_a_shard_that_is_missing_is_named(copy_of: Copy, component: str) -> None:
    folder = copy_of("sd3")
    _, second = shard(folder, component)
    second.unlink()

    with pytest.raises(InvalidFieldError, match=f"{component}: lacks {second.name}, of which"):
        load(folder, component)


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_shards_without_their_index_are_refused(copy_of: Copy, component: str) -> None:
    folder = copy_of("sd3")
    shard(folder, component)
    (folder / component / f"{FILES[component]}.safetensors.index.json").unlink()

    with pytest.raises(InvalidFieldError, match=f"{component}: has neither .* index of its shards"):
        load(folder, component)


def test_an_index_that_is_none_is_named(copy_of: Copy) -> None:
    folder = copy_of("sd3")
    index = folder / "vae/diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": []}')

    with pytest.raises(InvalidFieldError, match=r"index\.json: weight_map: is not a JSON object"):
        load(folder, "vae")


def test_an_index_beside_a_whole_file_does_not_count_where_it_is_not_read(copy_of: Copy) -> None:
    """Whoever copies only the whole file of a repository that has both gets the index too."""
    folder = copy_of("sd3")
    index: dict[str, Any] = {
        "metadata": {},
        "weight_map": {"a": "model-00001-of-00001.safetensors"},
    }
    (folder / "text_encoder/model.safetensors.index.json").write_text(json.dumps(index))

    load(folder, "text_encoder")


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_a_tensor_that_only_the_index_knows_is_missing(copy_of: Copy, component: str) -> None:
    from safetensors.torch import load_file

    folder = copy_of("sd3")
    first, _ = shard(folder, component)
    tensor = min(load_file(first))
    rewrite(first, without(tensor))

    with pytest.raises(InvalidFieldError, match=f"{component}: has no {tensor} in its weights"):
        load(folder, component)
