"""Scenario files: what they may say, and how what they may not is blamed."""

from pathlib import Path

import pytest

from tridentserve.errors import InvalidFieldError
from tridentserve.sim.files import YamlFile, read_yaml
from tridentserve.sim.reading import overridden, read_experiment, read_scenario, scenario_of
from tridentserve.sim.scenario import Scenario

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
GOOD = """\
name: x
profile: {name: flux}
workload:
  trace: flux
  mix:
    - {shape: 64x64, weight: 1}
    - shape: 128x128x17
      weight: 2
placement: {plan: Colocated}
"""


def read(text: str) -> Scenario:
    return scenario_of(YamlFile(text, "s.yaml"))


def test_the_examples_can_be_read_and_resolved() -> None:
    files = sorted(EXAMPLES.glob("*.yaml"))
    assert len(files) >= 4
    for file in files:
        experiment = read_experiment(read_scenario(file), file.parent)
        assert experiment.asks
        assert experiment.asks[-1].at_s < experiment.scenario.arrivals_s


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("name: x\n", "", "s.yaml:1: name"),
        ("name: x", "name: x\nnamed: y", "s.yaml:2: named"),
        ("{name: flux}", "{name: fluxx}", "s.yaml:2: profile.name"),
        ("{name: flux}", "{}", "s.yaml:2: profile"),
        ("trace: flux", "trace: flux\n  file: y", "s.yaml:4: workload"),
        ("trace: flux", "trace: fluxx", "s.yaml:4: workload.trace"),
        ("64x64,", "64,", "s.yaml:6: workload.mix[0].shape"),
        ("weight: 2", "weight: -2", "s.yaml:8: workload.mix[1].weight"),
        ("weight: 2", "weight: .inf", "s.yaml:8: workload.mix[1].weight"),
        ("weight: 2", "weight: 2\n      height: 3", "s.yaml:9: workload.mix[1].height"),
        ("{plan: Colocated}", "{plan: Other}", "s.yaml:9: placement.plan"),
        ("{plan: Colocated}", "{planner: Other}", "s.yaml:9: placement.planner"),
        ("{plan: Colocated}", "{plan: Colocated, planner: Static}", "s.yaml:9: placement"),
        ("name: x", "name: x\ndispatch: Nobody", "s.yaml:2: dispatch"),
        ("name: x", "name: x\ndeadline: soon", "s.yaml:2: deadline"),
        ("name: x", "name: x\ndeadline: []", "s.yaml:2: deadline"),
        ("trace: flux", "trace: flux\n  cv: 1e-200", "s.yaml:5: workload.cv"),
        ("trace: flux", "trace: flux\n  cv: 1e200", "s.yaml:5: workload.cv"),
        (
            "trace: flux",
            "trace: flux\n  phases: [{duration_s: 1, mix: []}]",
            "s.yaml:5: workload.phases[0].mix",
        ),
        ("name: x", "name: x\nseed: one", "s.yaml:2: seed"),
        ("name: x", "name: x\nname: y", "s.yaml:2"),
        ("name: x", "name: [x", "s.yaml:2"),
        ("name: x", "name: x\nworld: {noise: 2}", "s.yaml:2: world.noise"),
        ("name: x", "name: x\nfailures: [{node: 99, at_s: 1}]", "s.yaml:1"),
    ],
)
def test_what_is_wrong_is_blamed_by_file_line_and_field(old: str, new: str, field: str) -> None:
    assert read(GOOD).name == "x"
    assert old in GOOD
    with pytest.raises(InvalidFieldError) as caught:
        read(GOOD.replace(old, new, 1))
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["deadline: []", "workload: {trace: flux, mix: []}"])
def test_an_empty_list_is_said_to_be_too_short(field: str) -> None:
    given = "" if "workload" in field else "workload: {trace: flux}\n"
    with pytest.raises(InvalidFieldError) as caught:
        read(f"name: x\nprofile: {{name: flux}}\n{given}{field}\n")
    assert "at least 1 item" in caught.value.problem


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n", "a: *b\n", "\0", "!!python/x {}\n"])
def test_what_is_no_scenario_at_all_is_an_error_with_the_file(text: str) -> None:
    with pytest.raises(InvalidFieldError, match=r"s\.yaml"):
        read(text)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match=r"none\.yaml"):
        read_yaml(tmp_path / "none.yaml")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InvalidFieldError, match=r"b\.yaml"):
        read_yaml(binary)


def test_a_trace_of_a_scenario_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "day.jsonl").write_text('{"at_s": 5, "height": 64, "width": 64, "steps": 2}\n')
    content = "name: x\nprofile: {name: flux}\nworkload: {recording: day.jsonl}\n"
    (tmp_path / "s.yaml").write_text(content)
    scenario = read_scenario(tmp_path / "s.yaml")
    assert [one.at_s for one in read_experiment(scenario, tmp_path).asks] == [0.0]


def replayed(folder: Path, *at_s: int, more: str = "") -> list[float]:
    """When the requests of a recording arrive in a scenario."""
    lines = [f'{{"at_s": {one}, "height": 64, "width": 64, "steps": 2}}\n' for one in at_s]
    (folder / "day.jsonl").write_text("".join(lines))
    text = f"name: x\nprofile: {{name: flux}}\nworkload: {{recording: day.jsonl}}\n{more}"
    found = read_experiment(overridden(read(text), seed=3), folder)
    assert found.scenario.ends_s == found.scenario.arrivals_s + 1800.0
    return [one.at_s for one in found.asks]


def test_a_recording_is_replayed_whole_however_long_it_is(tmp_path: Path) -> None:
    assert replayed(tmp_path, 0, 5000) == [0.0, 5000.0]


def test_a_recording_is_cut_where_the_scenario_says_a_duration(tmp_path: Path) -> None:
    assert replayed(tmp_path, 0, 99, 100, more="duration_s: 100") == [0.0, 99.0]


def test_a_file_of_one_late_request_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(
        "Request(timestamp=7.5, height=64, width=64, num_frames=1, num_inference_steps=2)"
    )
    scenario = read("name: x\nprofile: {name: flux}\nworkload: {file: t.txt}\n")
    assert [one.at_s for one in read_experiment(scenario, tmp_path).asks] == [7.5]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("recording: d, steps: 4", "steps has no effect beside recording"),
        ("recording: d, rate_per_s: 4", "rate_per_s has no effect beside recording"),
        ("recording: d, phases: [{duration_s: 5}]", "phases has no effect beside recording"),
        ("file: d, steps: 4, guidance: 3", "guidance has no effect beside file"),
        ("file: d, cv: 2", "cv has no effect beside file"),
    ],
)
def test_a_field_that_a_file_leaves_without_effect_is_refused(given: str, words: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        read(f"name: x\nprofile: {{name: flux}}\nworkload: {{{given}}}\n")
    assert (caught.value.field, caught.value.problem) == ("s.yaml:3: workload", words)


def test_a_recording_says_its_steps_itself_whatever_the_field_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "day.jsonl").write_text('{"at_s": 5, "height": 64, "width": 64, "steps": 2}\n')
    scenario = read("name: x\nprofile: {name: flux}\nworkload: {file: day.jsonl, steps: 9}\n")
    with pytest.raises(InvalidFieldError, match=r"workload.steps: .* each line of .*day\.jsonl"):
        read_experiment(scenario, tmp_path)


def test_a_phase_has_a_rate_or_a_load() -> None:
    phase = "{duration_s: 5, rate_per_s: 1, load: 0.5}"
    with pytest.raises(InvalidFieldError) as caught:
        read(f"name: x\nprofile: {{name: flux}}\nworkload: {{trace: flux, phases: [{phase}]}}\n")
    assert caught.value.field == "s.yaml:3: workload.phases[0]"
    assert "both rate_per_s and load" in caught.value.problem


def test_a_field_can_be_overridden_and_is_checked_again() -> None:
    assert overridden(read(GOOD), seed=7).seed == 7
    with pytest.raises(InvalidFieldError, match="dispatch"):
        overridden(read(GOOD), dispatch="Nobody")
