"""The demo's pure parts: what it asks for, shows and promises; and its housekeeping."""

import io
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image

from train_shapes.scenes import is_held_out, parse
from tridentserve.client import Accepted, Finished, MediaPiece, StageStarted, StageTiming, Step
from tridentserve.domain.ids import ContentDigest, NodeId, PlanId, RequestId, Revision, WorkerId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import TemporaryError
from tridentserve.families.advice import ADVICE
from tridentserve.manifest.status import Status
from tridentserve.manifest.v1alpha1 import parse as parse_pipeline
from tridentserve.stage.synthetic import read_model
from tridentserve_local.demo import promises, resources, tables
from tridentserve_local.demo.folders import SHAPES, emptied, models
from tridentserve_local.demo.jobs import JOBS, Job
from tridentserve_local.demo.monolith import differing
from tridentserve_local.demo.narrator import Narrator
from tridentserve_local.demo.pictures import Board
from tridentserve_local.demo.plans import PlanSeen, plan_of
from tridentserve_local.demo.promises import LoadOutcome


def timing(stage: Stage, node: str, store: str) -> StageTiming:
    return StageTiming(
        stage=stage,
        worker=WorkerId(f"{stage}-0"),
        node=NodeId(node),
        wait_s=0.25,
        queue_s=0.5,
        fetch_s=0.001,
        run_s=1.5,
        put_s=0.002,
        input_store=store,
        input_bytes=66_000 if store else 0,
        batch=1,
        attempts=1,
    )


def finished(nodes: Sequence[str], hops: Sequence[str]) -> Finished:
    places = zip(STAGES, nodes, ("", *hops), strict=True)
    return Finished(
        mime_type="image/png",
        seed=1,
        revision=Revision("r"),
        digest=ContentDigest("d"),
        plan=PlanId("p"),
        timings=tuple(timing(*place) for place in places),
        total_s=6.25,
        deadline_met=True,
    )


MIXED = finished(["a", "a", "b"], ["shm", "redis"])


def test_files_of_pictures_differ_and_sizes_are_several() -> None:
    assert len({job.file_name for job in JOBS}) == len(JOBS)
    assert {(job.height, job.width) for job in JOBS} == {(64, 64), (96, 96), (128, 128)}


def test_prompts_are_captions_of_one_two_and_three_things_most_of_them_never_trained_on() -> None:
    scenes = [parse(job.prompt) for job in JOBS]

    assert {len(scene.things) for scene in scenes} == {1, 2, 3}
    trained = [job.name for job, scene in zip(JOBS, scenes, strict=True) if not is_held_out(scene)]
    assert trained == ["pair"]


def test_a_request_says_everything_that_the_monolith_is_told() -> None:
    job = JOBS[0]

    asked = job.request

    for field in ("prompt", "height", "width", "steps", "guidance", "seed"):
        assert getattr(asked, field) == getattr(job, field)


def test_pictures_are_asked_for_as_the_model_says_of_itself() -> None:
    says = json.loads((SHAPES / ADVICE).read_text())["defaults"]

    assert {(job.steps, job.guidance) for job in JOBS} == {(says["steps"], says["guidance"])}


@pytest.mark.parametrize("text", [resources.pictures_pipeline, resources.load_pipeline])
def test_what_is_applied_is_a_valid_resource(text: object) -> None:
    assert callable(text)

    body = parse_pipeline(yaml.safe_load(text(Path("/models/one"))))

    assert body.spec.model.uri == "file:///models/one"


def test_the_synthetic_model_can_be_served(tmp_path: Path) -> None:
    resources.write_synthetic(tmp_path / "model")

    model = read_model(tmp_path / "model")

    assert model.info.default_steps == resources.STEPS
    assert model.seconds[Stage.DIFFUSE] == resources.STEP_S


def test_every_line_carries_the_time_and_empty_ones_no_spaces() -> None:
    times = iter([10.0, 11.5])
    stream = io.StringIO()
    narrator = Narrator(stream, lambda: next(times))

    narrator.say("one\n\ntwo")

    assert stream.getvalue() == "[  1.5 s] one\n[  1.5 s]\n[  1.5 s] two\n"


def test_the_board_shows_where_each_picture_is_and_forgets_those_that_are_done() -> None:
    one, two = JOBS[:2]
    board = Board([one, two])
    assert board.line == ""

    board.hear(one, Accepted(request=RequestId("r"), predicted_s=None, deadline_s=None))
    board.hear(two, StageStarted(stage=Stage.ENCODE, worker=WorkerId("w"), attempt=1))
    assert board.line == "grass waits | pair encode"
    board.hear(one, Step(step=3, steps=8))
    board.hear(two, MediaPiece(index=0, mime_type="image/png", data=b""))
    assert board.line == "grass diffuse 3/8 | pair arrives"
    board.hear(one, MIXED)
    assert board.line == "pair arrives"


def test_the_table_of_seconds_has_each_stage_and_tells_waiting_from_hops() -> None:
    job = JOBS[1]

    lines = tables.seconds_table([job], [MIXED]).splitlines()

    assert lines[0].split() == [
        *("picture", "size", "steps", "waited", "encode", "diffuse", "decode", "hops", "total")
    ]
    assert lines[1].split() == [
        *("pair", "64x64", str(job.steps), "2.250", "1.500", "1.500", "1.500", "0.009", "6.250")
    ]


def test_the_table_of_hops_has_nodes_stores_and_bytes() -> None:
    lines = tables.hops_table(JOBS[:1], [MIXED]).splitlines()

    assert "a -> a -> b" in lines[1]
    assert lines[1].index("shm 66.0 kB") < lines[1].index("redis 66.0 kB")


def test_tables_refuse_rows_of_another_length() -> None:
    with pytest.raises(ValueError, match="shorter"):
        tables.table(["a", "b"], [["1"]])


def holds(found: Sequence[promises.Promise]) -> list[bool]:
    return [promise.holds for promise in found]


def test_promises_of_pictures_are_kept_by_a_good_run() -> None:
    found = promises.of_pictures(1, [MIXED], [])

    assert holds(found) == [True, True]
    assert all(promise.line.startswith("yes") for promise in found)


@pytest.mark.parametrize(
    ("count", "hops", "different", "expected"),
    [
        (1, MIXED, ["fox.png"], [False, True]),
        (2, MIXED, [], [False, True]),
        (1, finished(["a", "a", "a"], ["shm", "shm"]), [], [True, False]),
        (1, finished(["a", "b", "a"], ["redis", "redis"]), [], [True, False]),
        # Redis, but never from one node to another.
        (1, finished(["a", "a", "a"], ["shm", "redis"]), [], [True, False]),
        # Shared memory from one node to another: one of the two is a lie.
        (1, finished(["a", "b", "a"], ["shm", "redis"]), [], [True, False]),
    ],
)
def test_a_broken_promise_of_pictures_is_told(
    count: int, hops: Finished, different: list[str], expected: list[bool]
) -> None:
    found = promises.of_pictures(count, [hops], different)

    assert holds(found) == expected
    assert any(promise.line.startswith("NO ") for promise in found)


def test_stores_that_did_not_occur_are_named_with_those_that_did() -> None:
    *_, hops = promises.of_pictures(1, [finished(["a", "a", "a"], ["shm", "shm"])], [])

    assert hops.line.endswith("2 by shm within a node")


def plan(workers: int, percent: int, reason: str) -> PlanSeen:
    return PlanSeen(
        id=f"{workers}-{percent}",
        workers=workers,
        fraction_percent=percent,
        ready=workers,
        settled=True,
        reason=reason,
    )


QUIET = plan(1, 50, "0.40 requests/s x 0.8 s at 50 % / 70 % = 1 worker")
BUSY = plan(3, 100, "4.10 requests/s x 0.4 s at 100 % / 70 % = 3 workers")
GOOD = LoadOutcome(
    before=QUIET, under=BUSY, after=QUIET, sent=9, right=9, problems=(), rate_per_s=5.0
)


def test_promises_of_load_are_kept_by_a_good_run() -> None:
    assert holds(promises.of_load(GOOD)) == [True] * 4


@pytest.mark.parametrize(
    ("outcome", "broken"),
    [
        (replace(GOOD, under=replace(BUSY, workers=1)), 0),
        (replace(GOOD, under=replace(BUSY, fraction_percent=50)), 0),
        (replace(GOOD, under=replace(BUSY, reason="because")), 1),
        (replace(GOOD, before=replace(QUIET, reason="nothing known")), 1),
        (replace(GOOD, under=replace(BUSY, reason="0.39 requests/s x 9 s")), 1),
        (replace(GOOD, under=replace(BUSY, reason="0.90 requests/s x 9 s")), 1),
        (replace(GOOD, after=BUSY), 2),
        (replace(GOOD, right=8, problems=("a wrong picture",)), 3),
        (replace(GOOD, sent=0, right=0), 3),
    ],
)
def test_a_broken_promise_of_load_is_told(outcome: LoadOutcome, broken: int) -> None:
    assert [i for i, kept in enumerate(holds(promises.of_load(outcome))) if not kept] == [broken]


def test_what_is_left_of_a_cluster_breaks_a_promise() -> None:
    assert promises.of_the_end([]).holds
    assert promises.of_the_end(["process 7"]).line.endswith("process 7")


def status(*pools: tuple[int, int, int], progressing: str = "False") -> Status:
    """Of a stage that should be 3 at 100 %; pools as (fraction, desired, ready)."""
    listed = [
        {"name": f"p{f}", "fractionPercent": f, "revision": "r", "desired": d, "ready": r}
        for f, d, r in pools
    ]
    stage = {
        "name": "diffuse",
        "desired": 3,
        "ready": sum(pool[2] for pool in pools),
        "fractionPercent": 100,
        "pools": listed,
    }
    condition = {
        "type": "Progressing",
        "status": progressing,
        "reason": "X",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    reasons = [
        {"code": "Proportional", "stage": "encode", "message": "another stage"},
        {"code": "Proportional", "stage": "diffuse", "message": BUSY.reason},
    ]
    return Status.model_validate(
        {
            "stages": [stage],
            "conditions": [condition],
            "plan": {"id": "abc", "reasons": reasons},
        }
    )


def test_a_plan_is_read_with_the_reason_of_its_stage() -> None:
    found = plan_of(status((100, 3, 3)), Stage.DIFFUSE)

    assert found is not None
    assert (found.words, found.reason, found.settled) == ("3 at 100 %", BUSY.reason, True)
    assert found.arrivals_per_s == 4.1


@pytest.mark.parametrize(
    "unfinished",
    [
        status((100, 3, 2)),
        status((100, 2, 2)),
        status((50, 1, 1), (100, 3, 3)),
        status((100, 3, 3), progressing="True"),
    ],
)
def test_a_plan_is_not_settled_before_its_workers_are_there_and_all_others_gone(
    unfinished: Status,
) -> None:
    found = plan_of(unfinished, Stage.DIFFUSE)

    assert found is not None
    assert not found.settled


def test_there_is_no_plan_before_the_operator_has_looked() -> None:
    assert plan_of(Status(), Stage.DIFFUSE) is None


def draw(folder: Path, job: Job, colour: tuple[int, int, int]) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (job.width, job.height), colour).save(folder / job.file_name)


def test_pictures_that_differ_in_one_bit_are_named(tmp_path: Path) -> None:
    same, other = JOBS[:2]
    for folder, blue in (("served", 3), ("drawn", 2)):
        draw(tmp_path / folder, same, (1, 2, 3))
        draw(tmp_path / folder, other, (1, 2, blue))

    found = differing([same, other], tmp_path / "served", tmp_path / "drawn")

    assert found == [other.file_name]


def test_only_what_a_demo_wrote_is_taken_away_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_text("keep")
    for old in (JOBS[0].file_name, "sheet.png"):
        (tmp_path / old).write_text("old")
    (tmp_path / "logs" / "old").mkdir(parents=True)

    with emptied(tmp_path):
        left = {file.name for file in tmp_path.iterdir()}

    assert left == {"mine.png", ".lock"}


def test_two_demos_never_write_to_one_folder(tmp_path: Path) -> None:
    with (
        emptied(tmp_path),
        pytest.raises(TemporaryError, match="another demo"),
        emptied(tmp_path),
    ):
        pass

    with emptied(tmp_path):
        pass


@pytest.mark.parametrize("stays", [False, True])
def test_the_model_is_copied_to_a_plain_path_and_goes_unless_it_is_to_stay(
    tmp_path: Path, stays: bool
) -> None:
    shapes = tmp_path / "a checkout: with (odd) characters" / "shapes"
    shapes.mkdir(parents=True)
    (shapes / "model_index.json").write_text("{}")

    with models(stay=lambda: stays, shapes=shapes) as folder:
        assert (folder / "shapes" / "model_index.json").read_text() == "{}"
        assert re.fullmatch(r"[\w/.-]+", str(folder))

    assert folder.exists() == stays
    shutil.rmtree(folder, ignore_errors=True)


def test_a_checkout_without_the_model_is_said_so(tmp_path: Path) -> None:
    with (
        pytest.raises(TemporaryError, match="no-model is missing; check the project out"),
        models(stay=lambda: False, shapes=tmp_path / "no-model"),
    ):
        pass
