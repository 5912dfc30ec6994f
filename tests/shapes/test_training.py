"""Training on a scale of seconds: it can be interrupted anywhere, and what comes out is a model."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train_shapes import (
    checkpoints,
    data,
    evaluate,
    export,
    latents,
    loop,
    model,
    scaling,
    training,
    workers,
)
from train_shapes.flow_training import FlowTask
from train_shapes.scenes import is_held_out, parse
from train_shapes.schedule import learning_rate
from train_shapes.settings import (
    COLOR_CHANNELS,
    Batch,
    FlowSettings,
    ModelSettings,
    Recipe,
    TextSettings,
    VaeSettings,
)
from train_shapes.vae_training import VaeTask
from tridentserve.domain.stages import STAGES
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part

SMALL, LARGE = Batch(side=32, count=4, weight=0.5), Batch(side=64, count=2, weight=0.5)
MINIATURE = Recipe(
    model=ModelSettings(
        texts=(TextSettings(width=16, layers=2, heads=2),) * 2,
        vae_channels=(8, 8, 16),
        vae_groups=4,
        latent_channels=4,
        layers=2,
        heads=2,
        head_width=16,
        largest_side=64,
    ),
    vae=VaeSettings(steps=6, batches=(SMALL, LARGE), warmup_steps=2),
    flow=FlowSettings(
        steps=6,
        batches=(SMALL, LARGE),
        warmup_steps=2,
        steps_an_epoch=4,
        compiled=False,
    ),
)
DRAWING = evaluate.Drawing(side=64, steps=2, guidance=4.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all of the miniature was trained, in one go and in this process."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    training.train_vae(workers.Worker(), MINIATURE, folder)
    training.train_flow(workers.Worker(), MINIATURE, folder)
    return folder


def weights(folder: Path, name: str) -> Mapping[str, Any]:
    """All tensors that a training keeps of its modules, by name."""
    state = checkpoints.load(folder / f"{name}.pt")
    assert state is not None
    modules = {"vae": ("vae",), "flow": ("net", "mean")}[name]
    return {f"{m}.{key}": value for m in modules for key, value in state["task"][m].items()}


def task_of(name: str, trained: Path) -> loop.Task:
    if name == "vae":
        return VaeTask(MINIATURE, workers.Worker())
    return FlowTask(MINIATURE, export.trained_vae(MINIATURE, trained), workers.Worker())


@pytest.mark.models
@pytest.mark.parametrize("name", ["vae", "flow"])
def test_an_interrupted_training_ends_like_one_that_was_not(
    name: str, trained: Path, tmp_path: Path
) -> None:
    import torch

    for stop in (1, 5, None):  # in the first epoch, in the second, at the end
        loop.run(task_of(name, trained), tmp_path, stop_after=stop)
    expected, got = weights(trained, name), weights(tmp_path, name)

    assert expected.keys() == got.keys()
    assert all(torch.equal(got[key], expected[key]) for key in expected)
    assert (tmp_path / f"{name}.jsonl").read_text() == (trained / f"{name}.jsonl").read_text()


@pytest.mark.models
def test_of_every_picture_of_a_pool_it_is_known_where_its_things_are(trained: Path) -> None:
    vae, tokenizer = export.trained_vae(MINIATURE, trained), model.build_tokenizer(MINIATURE.model)
    pools = latents.fill(MINIATURE.flow, vae, tokenizer, share=1.0, seed="0")

    pool = pools[SMALL]
    captions, pictures = data.draw(len(pool.ids), SMALL.side, random.Random("0 32"))

    assert pool.things.shape == (len(captions), 1, *pool.latents.shape[2:])
    scale = SMALL.side // pool.things.shape[-1]
    for there, picture in zip(pool.things[:, 0].numpy() > 0, pictures.numpy(), strict=True):
        drawn = (picture != picture[:, :1, :1]).any(axis=0)
        cells = drawn.reshape(len(there), scale, len(there), scale).any(axis=(1, 3))
        assert (cells == there).all()
        assert 0 < there.mean() < 1


@pytest.mark.models
@pytest.mark.parametrize("name", ["vae", "flow"])
def test_a_finished_training_is_left_as_it_is(name: str, trained: Path) -> None:
    before = (trained / f"{name}.pt").read_bytes()
    loop.run(task_of(name, trained), trained)

    assert (trained / f"{name}.pt").read_bytes() == before


@pytest.mark.models
@pytest.mark.parametrize("name", ["vae", "flow"])
def test_every_weight_learns(name: str, trained: Path) -> None:
    task = task_of(name, trained)
    start = {key: value.clone() for key, value in flat(task.state()).items()}
    for number in range(task.steps):
        task.step(number)
    end = flat(task.state())
    unmoved = {key for key in end if bool((end[key] == start[key]).all())}

    # A table that is computed, and what the last block would ask for the context that it drops.
    assert unmoved <= {
        "transformer.pos_embed.pos_embed",
        "transformer.transformer_blocks.1.attn.norm_added_q.weight",
    }


def flat(state: Mapping[str, Any]) -> dict[str, Any]:
    return dict(state["net"] if "net" in state else state["vae"])


@pytest.mark.models
def test_what_is_exported_loads_as_a_pipeline_and_draws_the_same_again(
    trained: Path, tmp_path: Path
) -> None:
    export.export(MINIATURE, trained, tmp_path)
    captions = [scene.caption for scene in evaluate.held_out(2)]
    first, again = (
        list(evaluate.draw(evaluate.load(tmp_path), captions, DRAWING)) for _ in range(2)
    )

    assert first[0].shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.models
def test_the_export_can_be_served_and_is_asked_as_it_was_judged_where_nothing_is_said(
    trained: Path, tmp_path: Path
) -> None:
    export.export(MINIATURE, trained, tmp_path)

    (info,) = {Part(tmp_path, stage, LoadOptions(threads=1)).info for stage in STAGES}

    assert (info.default_steps, info.default_guidance) == (
        MINIATURE.model.steps,
        MINIATURE.model.guidance,
    )
    assert info.default_shape.height == MINIATURE.model.largest_side


@pytest.mark.models
def test_the_export_holds_the_running_mean_as_halves(trained: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    export.export(MINIATURE, trained, tmp_path)
    (path,) = (tmp_path / "transformer").glob("*.safetensors")
    mean = weights(trained, "flow")

    for key, value in load_file(path).items():
        assert value.dtype == torch.float16
        assert torch.equal(value, mean[f"mean.transformer.{key}"].half())


@pytest.mark.models
def test_latents_are_scaled_to_mean_0_and_deviation_1(trained: Path) -> None:
    vae = export.trained_vae(MINIATURE, trained)
    scaled = [
        latents.encode(vae, data.draw(64, side, random.Random(5))[1]).flatten() for side in (32, 64)
    ]

    assert sum(float(values.mean()) for values in scaled) / 2 == pytest.approx(0, abs=0.2)
    assert sum(float(values.std()) for values in scaled) / 2 == pytest.approx(1, abs=0.2)


@pytest.mark.models
def test_balancing_spreads_colors_most_and_changes_no_picture(trained: Path) -> None:
    import torch

    plain = model.vae(MINIATURE.model)
    plain.load_state_dict(checkpoints.load(trained / "vae.pt")["task"]["vae"])  # type: ignore[index]
    finished = scaling.finished(MINIATURE.model, plain, seed=MINIATURE.seed)
    _, pictures = data.draw(16, 64, random.Random(2))
    with torch.no_grad():
        expected, got = (
            vae.decode(vae.encode(pictures).latent_dist.sample(torch.Generator().manual_seed(0)))
            for vae in (plain, finished)
        )
    spread = latents.encode(finished, pictures).std(dim=(0, 2, 3))

    torch.testing.assert_close(got.sample, expected.sample, rtol=0, atol=1e-4)
    assert float(spread[:COLOR_CHANNELS].min()) > 1.5 * float(spread[COLOR_CHANNELS:].max())


@pytest.mark.models
def test_an_export_without_a_training_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"flow\.pt is not there: train first"):
        export.export(MINIATURE, tmp_path, tmp_path / "out")


@pytest.mark.models
def test_workers_get_the_mean_of_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Summed:
        """Another worker, whose gradients are all 3."""

        @staticmethod
        def all_reduce(flat: torch.Tensor) -> None:
            flat += 3

    first, second = (torch.nn.Parameter(torch.zeros(2, size)) for size in (1, 3))
    first.grad, second.grad = torch.full((2, 1), 1.0), torch.full((2, 3), 5.0)
    unused = torch.nn.Parameter(torch.zeros(1))
    monkeypatch.setattr(torch, "distributed", Summed)
    workers.Worker(rank=1, count=2).average_gradients([first, unused, second])

    assert torch.equal(first.grad, torch.full((2, 1), 2.0))
    assert torch.equal(second.grad, torch.full((2, 3), 4.0))
    assert unused.grad is None


@pytest.mark.models
def test_the_whole_training_of_two_workers_leaves_a_model(tmp_path: Path) -> None:
    training.train(MINIATURE, tmp_path / "training", tmp_path / "model", workers=2)
    (picture,) = evaluate.draw(evaluate.load(tmp_path / "model"), ["a red circle"], DRAWING)

    assert picture.shape == (64, 64, 3)
    assert len((tmp_path / "training/flow.jsonl").read_text().splitlines()) == MINIATURE.flow.steps


@pytest.mark.models
def test_training_draws_no_caption_that_is_held_out() -> None:
    captions, pictures = data.draw(300, 32, random.Random(1))

    assert not [caption for caption in captions if is_held_out(parse(caption))]
    assert pictures.shape == (300, 3, 32, 32)
    assert float(pictures.min()) >= -1
    assert float(pictures.max()) <= 1


@given(st.integers(1, 50), st.integers(51, 500))
def test_the_learning_rate_rises_and_then_falls_to_nothing(warmup: int, steps: int) -> None:
    rates = [
        learning_rate(step, peak=1.0, warmup_steps=warmup, steps=steps) for step in range(steps)
    ]

    assert max(rates) == pytest.approx(1.0)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert 0 <= rates[-1] < rates[warmup] or steps == warmup + 1


def test_a_kill_while_saving_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def killed(state: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    path = tmp_path / "some.pt"
    checkpoints.save(path, {"steps": 3})
    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(path, {"steps": 4})

    assert checkpoints.load(path) == {"steps": 3}


def test_a_log_goes_on_without_the_steps_that_are_done_again(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    log = checkpoints.Log(path, steps_done=2)
    log.write(step=2, loss=0.5)
    log.close()

    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 0},
        {"step": 1},
        {"step": 2, "loss": 0.5},
    ]
