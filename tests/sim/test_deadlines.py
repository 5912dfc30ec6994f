"""The rules for deadlines against the figures that were published or computed from them."""

import pytest
from tests.sim.worlds import DECODE_S, ENCODE_S, SHAPE, STEP_S, STEPS, TAIL_S, profile

from tridentserve.domain.shapes import Shape
from tridentserve.manifest.profile_files import builtin
from tridentserve.sim.deadlines import RULES, Book
from tridentserve.sim.experiment import least_device_s
from tridentserve.sim.workload import ShareOf


@pytest.mark.parametrize(
    ("name", "steps", "shapes", "published"),
    [
        (
            "cogvideox",
            6,
            ["432-17", "432-33", "1360-17", "432-65", "432-81", "1360-33", "1360-65", "1360-81"],
            [33, 21, 79, 74, 94, 150, 180, 127],
        ),
        ("sd3", 20, [128, 256, 512, 1024, 1536], [4, 4, 7, 22, 33]),
        ("flux", 28, [128, 256, 512, 1024, 2048], [8, 15, 29, 105, 352]),
    ],
)
def test_the_published_rule_gives_the_published_deadlines(
    name: str, steps: int, shapes: list[str | int], published: list[int]
) -> None:
    book = Book(builtin(name, variant="raw"))
    found = []
    for one in shapes:
        if isinstance(one, int):
            shape = Shape(height=one, width=one)
        else:
            width, frames = map(int, one.split("-"))
            shape = Shape(height=768, width=width, frames=frames)
        found.append(RULES["4.4x+2s"](book.curve(shape, steps)))
    assert found == published


def test_the_efficient_degree_is_the_largest_that_keeps_four_fifths_of_its_speed_up() -> None:
    curve = Book(profile()).curve(SHAPE, STEPS)
    times = {degree: STEPS * step_s + TAIL_S for degree, step_s in STEP_S.items()}
    efficient = max(k for k, seconds in times.items() if times[1] / seconds / k >= 0.8 or k == 1)
    assert curve.efficient_s == pytest.approx(times[efficient])
    assert curve.fastest_s == pytest.approx(times[8])
    best_s = ENCODE_S + times[efficient] + DECODE_S
    assert RULES["2.5x"](curve) == pytest.approx(2.5 * best_s)
    assert RULES["1.5x"](curve) == pytest.approx(1.5 * best_s)
    assert RULES["2.5x-fastest"](curve) == pytest.approx(2.5 * (ENCODE_S + times[8] + DECODE_S))


def test_load_one_is_the_fewest_device_seconds() -> None:
    classes = [ShareOf(shape=SHAPE, steps=STEPS, weight=1.0)]
    expected = ENCODE_S + STEPS * STEP_S[1] + TAIL_S + DECODE_S
    assert least_device_s(profile(), classes) == pytest.approx(expected)
