"""What arrives: generated, from traces and from recordings."""

from collections import Counter
from itertools import pairwise

import pytest

from tridentserve.domain.shapes import Shape
from tridentserve.errors import InvalidFieldError
from tridentserve.sim.recorded import parse_recording
from tridentserve.sim.traces import parse_trace
from tridentserve.sim.workload import TRACES, Phase, generate, mix

SHAPES = (Shape(height=64, width=64), Shape(height=128, width=128))
CLASSES = mix("Medium", SHAPES, 4)


def phase(**more: object) -> Phase:
    defaults = {"duration_s": 2000.0, "rate_per_s": 2.0, "mix": CLASSES}
    return Phase(**(defaults | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "requests", "last_s"),
    [("cogvideox", 2700, 1799.333), ("flux", 2700, 1799.333), ("hunyuanvideo", 1800, 1799.0)],
)
def test_the_equivalent_of_a_public_trace_has_its_rate_and_equal_counts(
    name: str, requests: int, last_s: float
) -> None:
    kind = TRACES[name]
    asks = generate(
        [
            phase(
                duration_s=1800.0,
                rate_per_s=kind.rate_per_s,
                mix=mix("Medium", kind.shapes, kind.steps),
                balanced=True,
            )
        ],
        seed=1,
    )
    counts = Counter(ask.shape for ask in asks)
    assert len(asks) == requests
    assert asks[-1].at_s == pytest.approx(last_s, abs=0.01)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(counts) == len(kind.shapes)


@pytest.mark.parametrize(("process", "cv"), [("Poisson", 1.0), ("Gamma", 2.0), ("Gamma", 4.0)])
def test_gaps_have_the_rate_and_the_variation_that_were_asked_for(process: str, cv: float) -> None:
    asks = generate([phase(duration_s=20_000.0, process=process, cv=cv)], seed=5)
    gaps = [b.at_s - a.at_s for a, b in pairwise(asks)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((one - mean) ** 2 for one in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.5, rel=0.06)
    assert deviation / mean == pytest.approx(cv, rel=0.06)


def test_light_and_heavy_weigh_by_volume() -> None:
    light, heavy = (
        {one.shape: one.weight for one in mix(name, SHAPES, 4)} for name in ("Light", "Heavy")
    )
    assert light[SHAPES[0]] / light[SHAPES[1]] == pytest.approx(4.0)
    assert heavy[SHAPES[1]] / heavy[SHAPES[0]] == pytest.approx(4.0)


def test_phases_follow_one_another_and_a_class_does_not_depend_on_the_rate() -> None:
    phases = [phase(duration_s=10.0), phase(duration_s=10.0, rate_per_s=4.0)]
    asks = generate(phases, seed=1)
    assert [sum(low <= one.at_s < low + 10.0 for one in asks) for low in (0.0, 10.0)] == [20, 40]
    faster = generate([phase(duration_s=10.0, rate_per_s=3.0), phases[1]], seed=1)
    assert [one.shape for one in asks[:20]] == [one.shape for one in faster[:20]]


# --- files ----------------------------------------------------------------------------------------

HUGE = "9" * 400
LINE = (
    "Request(request_id=0, timestamp=0.5, height=768, width=1360, num_frames=65,"
    " prompt='A futuristic city', negative_prompt='', num_inference_steps=50)"
)


def test_a_line_of_a_public_trace_is_a_request() -> None:
    (ask,) = parse_trace(LINE + "\n\n", "t.txt", None)
    assert (ask.at_s, ask.shape, ask.steps) == (0.5, Shape(height=768, width=1360, frames=65), 50)
    assert parse_trace(LINE, "t.txt", 6)[0].steps == 6


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("Request(timestamp=0.0", "t.txt:2"),
        ("print('x')", "t.txt:2"),
        ("Request(timestamp=__import__('os').getpid())", "t.txt:2"),
        ("Request(*[1])", "t.txt:2"),
        (LINE.replace("height=768", "height=0"), "t.txt:2: height"),
        (LINE.replace("height=768, ", ""), "t.txt:2: height"),
        (LINE.replace("timestamp=0.5", "timestamp='x'"), "t.txt:2: timestamp"),
        (LINE.replace("timestamp=0.5", "timestamp=0.1"), "t.txt:2: timestamp"),
        (LINE.replace("num_frames=65", "num_frames=True"), "t.txt:2: num_frames"),
        (LINE.replace("'A futuristic city'", "{[]: 1}"), "t.txt:2"),
        (LINE.replace("height=768", "height=1e300"), "t.txt:2: height"),
        (LINE.replace("timestamp=0.5", f"timestamp={HUGE}"), "t.txt:2: timestamp"),
    ],
)
def test_a_bad_line_of_a_trace_is_named(line: str, field: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        parse_trace(f"{LINE}\n{line}", "t.txt", None)
    assert caught.value.field == field


def test_a_recording_begins_at_nought_and_keeps_what_it_says() -> None:
    text = (
        '{"at_s": 100.5, "height": 512, "width": 256, "steps": 8, "id": "a", "deadline_s": 9}\n'
        '{"at_s": 101, "height": 512, "width": 256, "frames": 17, "steps": 8, "guidance": 2.5}\n'
    )
    first, second = parse_recording(text, "day.jsonl")
    assert (first.at_s, first.id, first.within_s) == (0.0, "a", 9.0)
    assert (second.at_s, second.shape.frames, second.guidance) == (0.5, 17, 2.5)


GOOD = '{"at_s": 1, "height": 8, "width": 8, "steps": 2}'


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "day.jsonl:2"),
        ("[1]", "day.jsonl:2"),
        ('{"at_s": 1, "height": 8, "width": 8}', "day.jsonl:2: steps"),
        (GOOD.replace('"steps": 2', '"steps": 0'), "day.jsonl:2: steps"),
        (GOOD.replace('"steps": 2', '"steps": 2.5'), "day.jsonl:2: steps"),
        (GOOD.replace('"at_s": 1', '"at_s": NaN'), "day.jsonl:2: at_s"),
        (GOOD.replace('"at_s": 1', '"at_s": 0'), "day.jsonl:2: at_s"),
        (GOOD.replace('"at_s": 1', '"at_s": "1"'), "day.jsonl:2: at_s"),
        (GOOD.replace("}", ', "hight": 3}'), "day.jsonl:2: hight"),
        (GOOD.replace("}", ', "deadline_s": -1}'), "day.jsonl:2: deadline_s"),
        (GOOD.replace("}", ', "id": ["x"]}'), "day.jsonl:2: id"),
        (GOOD.replace('"at_s": 1', f'"at_s": {HUGE}'), "day.jsonl:2: at_s"),
        (GOOD.replace('"height": 8', f'"height": {HUGE}'), "day.jsonl:2: height"),
        (GOOD.replace('"steps": 2', f'"steps": {HUGE}'), "day.jsonl:2: steps"),
        (GOOD.replace("}", f', "deadline_s": {HUGE}}}'), "day.jsonl:2: deadline_s"),
    ],
)
def test_a_bad_line_of_a_recording_is_named(line: str, field: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        parse_recording(f"{GOOD}\n{line}", "day.jsonl")
    assert caught.value.field == field


def test_a_name_appears_once_in_a_recording() -> None:
    named = GOOD.replace("}", ', "id": "a"}')
    with pytest.raises(InvalidFieldError, match="twice"):
        parse_recording(f"{named}\n{named}", "day.jsonl")


@pytest.mark.parametrize("named_first", [True, False])
def test_no_name_of_a_recording_is_one_that_an_unnamed_line_gets(named_first: bool) -> None:
    lines = [GOOD.replace("}", f', "id": "r00000{int(named_first)}"}}'), GOOD]
    with pytest.raises(InvalidFieldError, match=r"day\.jsonl:2: id: 'r00000\d'.* appears twice"):
        parse_recording("\n".join(lines if named_first else lines[::-1]), "day.jsonl")
