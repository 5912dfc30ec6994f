"""`tridentserve sim` and `tridentserve plan`, from files to files."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from tridentserve.cli.__main__ import main
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.manifest.profile_files import builtin
from tridentserve.planner.cost import CostModel

SCENARIO = """\
name: small
seed: 3
duration_s: 120
drain_s: 600
cluster: {nodes: 2, devices_per_node: 8}
profile: {name: cogvideox}
workload: {trace: cogvideox, steps: 6, process: Poisson, rate_per_s: 0.15}
"""
PIPELINE = """\
apiVersion: tridentserve.io/v1alpha1
kind: DiffusionPipeline
metadata: {name: flux}
spec:
  model: {uri: "file:///models/flux"}
  stages:
    encode: {gpu: {sharing: Exclusive, count: 1}}
    diffuse:
      replicas: {max: 16}
      gpu: {sharing: Exclusive, count: 1}
    decode: {gpu: {sharing: Exclusive, count: 1}}
  autoscaling: {gpuLimitPercent: 12800}
"""
LINE = '{{"at_s": {}, "height": 512, "width": 512, "steps": 28}}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "day.jsonl").write_text("".join(LINE.format(index * 10) for index in range(20)))
    return tmp_path


def test_run_writes_json_and_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = folder / "out.json", folder / "page.png"
    given = ["sim", "run", str(folder / "s.yaml"), "--json", str(out), "--plot", str(page)]
    assert main([*given, "--quiet"]) == 0
    found = json.loads(out.read_text())
    assert found["figures"]["requests"] == len(found["requests"]) > 0
    assert found["figures"]["outcomes"]["finished"] == found["figures"]["requests"]
    assert found["figures"]["decisions"]["impossible"] == 0
    assert found["curves"]["latency"][-1][1] == 1.0
    assert page.read_bytes().startswith(b"\x89PNG")
    assert "attainment" in capsys.readouterr().out


def test_equal_runs_write_equal_json_but_for_what_the_machine_took(folder: Path) -> None:
    texts = []
    for name in ("a.json", "b.json"):
        given = ["sim", "run", str(folder / "s.yaml"), "--json", str(folder / name), "--quiet"]
        assert main(given) == 0
        content = json.loads((folder / name).read_text())
        assert content.pop("machine")["run_s"] > 0
        texts.append(content)
    assert texts[0] == texts[1]


def test_compare_prints_one_row_a_policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = folder / "out.json", folder / "page.svg"
    given = ["sim", "compare", str(folder / "s.yaml"), "--quiet", "--seeds", "1", "2"]
    given += ["--dispatch", "Fifo", "EarliestDeadline", "--json", str(out), "--plot", str(page)]
    assert main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["policy", "Fifo", "EarliestDeadline"]
    content = json.loads(out.read_text())
    assert [row["seeds"] for row in content["comparison"]] == [[1, 2], [1, 2]]
    arrivals = [[one["arrived_s"] for one in run["requests"]] for run in content["runs"]]
    assert arrivals[0] == arrivals[2] != arrivals[1] == arrivals[3]
    assert "<svg" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sim", "run", "none.yaml"], "none.yaml"),
        (["sim", "run", "s.yaml", "--plot", "x.doc"], "must end in"),
        (["sim", "run", "s.yaml", "--json", "none/x.json"], "there is no folder"),
        (["sim", "run", "s.yaml", "--json", "."], "is a folder"),
        (["sim", "run", "s.yaml", "--dispatch", "Nobody"], "Nobody"),
        (["sim", "run", "day.jsonl"], "day.jsonl"),
        (["plan", "-f", "s.yaml", "--trace", "day.jsonl", "--profile", "flux"], "s.yaml:1"),
        (["plan", "-f", "p.yaml", "--trace", "s.yaml", "--profile", "flux"], "s.yaml:1"),
        (["plan", "-f", "p.yaml", "--trace", "day.jsonl", "--profile", "no.json"], "no.json"),
        (["plan", "-f", "p.yaml", "--trace", "none.jsonl"], "none.jsonl"),
        (["plan", "-f", "p.yaml", "--trace", "day.jsonl", "--gpus", "0"], "--gpus"),
        (["plan", "-f", "p.yaml", "--trace", "day.jsonl", "--gpus", "12"], "--gpus: 12"),
        (["plan", "-f", "p.yaml", "--trace", "day.jsonl", "--steps", "0"], "--steps"),
        (["plan", "-f", "p.yaml", "--trace", "day.jsonl", "--plot", "x.png"], "--sweep"),
        (["plan", "-f", "p.yaml", "--trace", "day.jsonl", "--placement", "No"], "--placement"),
        (["plan", "-f", "p.yaml", "--trace", "day.jsonl", "--dispatch", "No"], "--dispatch"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    folder: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert words in shown.err
    assert len(shown.err.splitlines()) == 1


def test_compare_takes_no_two_scenarios_of_one_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "t.yaml").write_text(SCENARIO.replace("nodes: 2", "nodes: 1"))
    assert main(["sim", "compare", str(folder / "s.yaml"), str(folder / "t.yaml")]) == 1
    shown = capsys.readouterr().err
    assert f"{folder / 't.yaml'}: name: 'small' is that of {folder / 's.yaml'} as well" in shown


@pytest.mark.parametrize(
    ("repeated", "words"),
    [
        (["--seeds", "1", "2", "1"], "--seeds: 1 is there more than once"),
        (["--dispatch", "Fifo", "Fifo"], "--dispatch: Fifo is there more than once"),
    ],
)
def test_compare_counts_nothing_twice(
    folder: Path, repeated: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim", "compare", str(folder / "s.yaml"), *repeated]) == 1
    assert words in capsys.readouterr().err


def test_what_was_measured_is_said_even_where_a_file_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["sim", "run", str(folder / "s.yaml"), "--quiet", "--json", "/dev/full"]
    assert main(given) == 1
    shown = capsys.readouterr()
    assert "attainment" in shown.out
    assert "/dev/full: cannot be written" in shown.err


def plan(folder: Path, *more: str) -> int:
    given = ["plan", "-f", str(folder / "p.yaml"), "--trace", str(folder / "day.jsonl")]
    return main([*given, "--profile", "flux", *more])


def diffuse_s(steps: int) -> float:
    """What a recorded request takes on one GPU."""
    shape = Shape(height=512, width=512)
    found = CostModel(builtin("flux")).estimate(Stage.DIFFUSE, shape, steps, 100)
    assert found is not None
    return found.mean_s


def test_plan_says_which_placement_what_it_gives_and_why(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(folder, "--gpus", "16") == 0
    shown = capsys.readouterr().out
    for words in (
        "profile flux, built in",
        "Proportional placement and DeadlineAware dispatch on 16 GPUs",
        "20 requests, 0.1/s",
        "1 x encode@100, 1 GPU each",
        "encode: 0.10 requests/s x 0.12 s",
        "13 of 16 GPUs stay free: the placement needs no more",
        "deadlines met",
        "P95",
        "GPU-hours",
    ):
        assert words in shown


def test_plan_sizes_stages_by_what_the_recorded_requests_take(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(folder) == 0
    assert f"diffuse: 0.10 requests/s x {diffuse_s(28):.3g} s" in capsys.readouterr().out


def test_plan_says_which_limit_keeps_gpus_free(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "p.yaml").write_text(PIPELINE.replace("{max: 16}", "{max: 1}"))
    assert plan(folder) == 0
    assert "spec.stages.diffuse.replicas.max is 1" in capsys.readouterr().out


def test_plan_says_which_requests_no_gpu_has_the_memory_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = folder / "day.jsonl"
    huge = '{"at_s": 300, "height": 4096, "width": 4096, "steps": 28}\n'
    day.write_text(day.read_text() + huge)
    assert plan(folder) == 0
    shown = capsys.readouterr().out
    assert "1 of 21 requests are refused: decode of 4096 x 4096 needs " in shown
    assert "not finished    1 of 21: 1 refused" in shown


def test_plan_takes_the_profile_that_ships_for_the_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["plan", "-f", str(folder / "p.yaml"), "--trace", str(folder / "day.jsonl")]
    assert main(given) == 0
    assert "profile flux, taken for spec.model.uri file:///models/flux" in capsys.readouterr().out


OWN = "configMapRef: {name: own}"


@pytest.mark.parametrize("more", [(), ("--profile", "sd3")])
def test_plan_takes_the_profile_that_the_pipeline_names(
    folder: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "p.yaml").write_text(f"{PIPELINE}  profile: {{name: sd3}}\n")
    given = ["plan", "-f", str(folder / "p.yaml"), "--trace", str(folder / "day.jsonl")]
    assert main([*given, *more]) == 0
    assert "profile sd3, named by spec.profile.name of default/flux" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("profile", "more", "words"),
    [
        ("name: sd3", ("--profile", "flux"), "flux contradicts spec.profile.name, sd3"),
        ("name: sd3", ("--profile", "own.json"), "own.json contradicts spec.profile.name, sd3"),
        (OWN, (), "--profile: is needed: give the file that profile.json of the ConfigMap own"),
        (OWN, ("--profile", "flux"), "flux contradicts spec.profile.configMapRef"),
    ],
)
def test_plan_goes_by_no_other_profile_than_the_pipeline(
    folder: Path,
    profile: str,
    more: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "p.yaml").write_text(f"{PIPELINE}  profile: {{{profile}}}\n")
    given = ["plan", "-f", str(folder / "p.yaml"), "--trace", str(folder / "day.jsonl")]
    assert main([*given, *more]) == 1
    assert words in capsys.readouterr().err


def test_the_file_of_a_config_map_is_taken(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "p.yaml").write_text(f"{PIPELINE}  profile: {{{OWN}}}\n")
    shipped = files("tridentserve.manifest").joinpath("profiles", "flux.json")
    (folder / "own.json").write_text(shipped.read_text())
    given = ["plan", "-f", str(folder / "p.yaml"), "--trace", str(folder / "day.jsonl")]
    assert main([*given, "--profile", str(folder / "own.json")]) == 0
    assert "own.json" in capsys.readouterr().out


def test_plan_runs_as_many_steps_as_it_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(folder, "--steps", "280") == 0
    assert f"diffuse: 0.10 requests/s x {diffuse_s(280):.3g} s" in capsys.readouterr().out


def test_plan_sweeps_gpus_and_draws_the_curve(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder / "curve.png"
    assert plan(folder, "--sweep", "gpus=8..16", "--plot", str(page)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line] == ["profile", "GPUs", "8", "16", "13"]
    assert page.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("count: 1", "count: x", "p.yaml:7: spec.stages.encode.gpu.count"),
        ("replicas: {max: 16}", "replicas: {max: 0}", "p.yaml:9: spec.stages.diffuse.replicas.max"),
        ("{gpu: {sharing: Exclusive, count: 1}}", "{}", "p.yaml:7: spec.stages.encode.gpu.count"),
        ("kind: Diff", "kind: Conf", "p.yaml:2: kind"),
    ],
)
def test_a_bad_pipeline_is_blamed_by_file_line_and_field(
    folder: Path, old: str, new: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in PIPELINE
    (folder / "p.yaml").write_text(PIPELINE.replace(old, new, 1))
    assert plan(folder) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("sweep", ["8..16", "gpus=16..8", "gpus=3..8", "gpus=8", "gpus=0..8"])
def test_a_sweep_is_two_numbers_of_gpus(
    folder: Path, sweep: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(folder, "--sweep", sweep) == 1
    assert "--sweep" in capsys.readouterr().err
