"""The synthetic model: its picture tells every wrong byte, its durations follow its profile."""

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.domain.tensors import Tensor
from tridentserve.domain.work import Generation
from tridentserve.errors import CancelledError, InvalidFieldError, StageFailedError
from tridentserve.stage.png import encode_blocks
from tridentserve.stage.runner import Output, Task
from tridentserve.stage.synthetic import (
    SyntheticModel,
    SyntheticRunner,
    picture,
    read_model,
    run_stage,
)

GENERATION = Generation(
    prompt="a fox",
    negative_prompt="",
    shape=Shape(height=64, width=96),
    steps=4,
    guidance=5.0,
    seed=1,
    count=1,
    output_format="image/png",
)


def _model(folder: Path, **values: Any) -> SyntheticModel:
    (folder / "synthetic.json").write_text(json.dumps({"family": "synthetic", **values}))
    return read_model(folder)


@pytest.fixture
def model(tmp_path: Path) -> SyntheticModel:
    return _model(tmp_path)


def _bytes(output: Output) -> bytes:
    [tensor] = output.tensors.values()
    return bytes(tensor.data)


def test_what_is_left_out_has_defaults(model: SyntheticModel) -> None:
    assert model.info.default_shape == Shape(height=64, width=64)
    assert (model.info.default_steps, model.info.default_guidance) == (4, 5.0)
    assert model.info.size_multiple == 16
    assert model.handoff_bytes == {Stage.ENCODE: 65_536, Stage.DIFFUSE: 131_072}
    assert model.seconds == {Stage.ENCODE: 0.02, Stage.DIFFUSE: 0.01, Stage.DECODE: 0.05}


def test_hand_offs_are_as_large_as_told(tmp_path: Path) -> None:
    model = _model(tmp_path, handoffBytes={"encode": 10, "diffuse": 33})
    encoded = run_stage(model, Stage.ENCODE, Task(generation=GENERATION, inputs={}))
    task = Task(generation=GENERATION, inputs=encoded.tensors)

    assert len(_bytes(encoded)) == 10
    assert len(_bytes(run_stage(model, Stage.DIFFUSE, task))) == 33


def test_stage_by_stage_it_is_the_picture(model: SyntheticModel) -> None:
    output = Output(tensors={})
    for stage in STAGES:
        runner = SyntheticRunner(stage, model, sleep=lambda _: None)
        task = Task(generation=GENERATION, inputs=output.tensors)
        [output] = runner.run([task], SINGLE, lambda step, steps: None)

    assert output.media == picture(model, GENERATION)
    assert output.media[0].data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "changed",
    [
        replace(GENERATION, prompt="a hare"),
        replace(GENERATION, negative_prompt="blurry"),
        replace(GENERATION, seed=2),
        replace(GENERATION, steps=5),
        replace(GENERATION, guidance=4.0),
        replace(GENERATION, shape=Shape(height=96, width=64)),
    ],
)
def test_every_parameter_shows_in_the_picture(model: SyntheticModel, changed: Generation) -> None:
    assert picture(model, changed) != picture(model, GENERATION)


def test_the_seed_does_not_show_in_what_encode_hands_off(model: SyntheticModel) -> None:
    tasks = [Task(generation=replace(GENERATION, seed=seed), inputs={}) for seed in (1, 2)]

    first, second = (_bytes(run_stage(model, Stage.ENCODE, task)) for task in tasks)

    assert first == second


def test_pictures_of_one_request_differ(model: SyntheticModel) -> None:
    media = picture(model, replace(GENERATION, count=3))

    assert len({item.data for item in media}) == 3


@pytest.mark.parametrize("stage", [Stage.DIFFUSE, Stage.DECODE])
def test_one_flipped_bit_in_a_hand_off_shows(model: SyntheticModel, stage: Stage) -> None:
    assert stage.previous is not None
    data = bytearray(model.handoff_bytes[stage.previous])

    def run() -> Output:
        tensor = Tensor(dtype="uint8", shape=(len(data),), data=memoryview(bytes(data)))
        task = Task(generation=GENERATION, inputs={str(stage.previous): tensor})
        return run_stage(model, stage, task)

    before = run()
    data[-1] ^= 1

    assert run() != before


@pytest.mark.parametrize("stage", [Stage.DIFFUSE, Stage.DECODE])
def test_a_hand_off_of_another_stage_is_refused(model: SyntheticModel, stage: Stage) -> None:
    tensor = Tensor(dtype="uint8", shape=(1,), data=memoryview(b"x"))

    for inputs in ({}, {str(stage): tensor}, {str(stage.previous): tensor, "more": tensor}):
        with pytest.raises(StageFailedError):
            run_stage(model, stage, Task(generation=GENERATION, inputs=inputs))


def test_only_png_is_drawn(model: SyntheticModel) -> None:
    with pytest.raises(InvalidFieldError, match="image/png"):
        picture(model, replace(GENERATION, output_format="image/webp"))


def test_durations_follow_steps_fraction_and_pixels(tmp_path: Path) -> None:
    model = _model(tmp_path, seconds={"encode": 1.0, "diffusePerStep": 2.0}, scaleWithPixels=True)
    slept: list[float] = []

    def run(stage: Stage, fraction_percent: int, shape: Shape) -> list[float]:
        slept.clear()
        runner = SyntheticRunner(
            stage, model, fraction_percent=fraction_percent, sleep=slept.append
        )
        tensor = Tensor(dtype="uint8", shape=(1,), data=memoryview(b"x"))
        inputs = {} if stage.previous is None else {str(stage.previous): tensor}
        task = Task(generation=replace(GENERATION, shape=shape), inputs=inputs)
        runner.run([task, task], SINGLE, lambda step, steps: None)
        return list(slept)

    default, double = Shape(height=64, width=64), Shape(height=64, width=128)
    assert run(Stage.ENCODE, 100, default) == [1.0]
    assert run(Stage.ENCODE, 25, default) == [4.0]
    assert run(Stage.ENCODE, 100, double) == [2.0]
    assert run(Stage.DIFFUSE, 50, default) == [4.0] * 4


def test_a_cancelled_run_ends_at_its_step_and_the_runner_can_be_used_again(
    model: SyntheticModel,
) -> None:
    runner = SyntheticRunner(Stage.DIFFUSE, model, sleep=lambda _: None)
    encoded = run_stage(model, Stage.ENCODE, Task(generation=GENERATION, inputs={}))
    task = Task(generation=GENERATION, inputs=encoded.tensors)
    steps: list[int] = []

    def progress(step: int, of: int) -> None:
        steps.append(step)
        if step == 2:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        runner.run([task], SINGLE, progress)
    assert steps == [1, 2]
    assert runner.run([task], SINGLE, lambda step, of: None) == [
        run_stage(model, Stage.DIFFUSE, task)
    ]


def test_another_content_of_the_folder_is_another_digest(tmp_path: Path) -> None:
    first = _model(tmp_path)
    assert _model(tmp_path).info.digest == first.info.digest

    second = _model(tmp_path, sizeMultiple=32)
    (tmp_path / "notes.json").write_text("{}")

    assert len({first.info.digest, second.info.digest, read_model(tmp_path).info.digest}) == 3


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("{", "synthetic.json"),
        ("[]", "synthetic.json"),
        ('{"seconds": {"encode": -1}}', "synthetic.json: seconds.encode"),
        ('{"seconds": {"decode": "long"}}', "synthetic.json: seconds.decode"),
        ('{"seconds": {"diffusePerStep": NaN}}', "synthetic.json: seconds.diffusePerStep"),
        ('{"handoffBytes": {"encode": 0}}', "synthetic.json: handoffBytes.encode"),
        ('{"default": {"height": true}}', "synthetic.json: default.height"),
        ('{"sizeMultiple": 0}', "synthetic.json: sizeMultiple"),
    ],
)
def test_a_wrong_file_names_its_field(tmp_path: Path, content: str, field: str) -> None:
    (tmp_path / "synthetic.json").write_text(content)

    with pytest.raises(InvalidFieldError) as caught:
        read_model(tmp_path)

    assert caught.value.field == field


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_a_png_has_exactly_its_pixels(height: int, width: int, blocks: int) -> None:
    colours = bytes(range(256))[: 3 * blocks * blocks].ljust(3 * blocks * blocks, b"\x00")

    data = encode_blocks(colours, blocks, height=height, width=width)

    kinds, rest, lines = [], data[8:], b""
    while rest:
        size, kind = int.from_bytes(rest[:4], "big"), rest[4:8]
        body, checksum = rest[8 : 8 + size], rest[8 + size : 12 + size]
        assert int.from_bytes(checksum, "big") == zlib.crc32(kind + body)
        kinds.append(kind)
        lines += zlib.decompress(body) if kind == b"IDAT" else b""
        rest = rest[12 + size :]
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert len(lines) == height * (1 + 3 * width)
    assert set(lines[:: 1 + 3 * width]) == {0}
