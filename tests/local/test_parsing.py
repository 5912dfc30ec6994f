"""From the API's JSON to values: volumes, quantities, targets of Prometheus, tails of logs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tridentserve.domain.names import LABEL_PART_OF, LABEL_PIPELINE, PART_OF
from tridentserve_local.discovery import targets
from tridentserve_local.environment import ConfigError, Objects, Place
from tridentserve_local.folders import Folders
from tridentserve_local.logs import start_of_tail
from tridentserve_local.parsing import parse_container, parse_pod, parse_volume
from tridentserve_local.prometheus import scrape_configuration
from tridentserve_local.settings import ClusterSettings
from tridentserve_local.specs import (
    Claim,
    EmptyDir,
    Files,
    HostPath,
    HttpAction,
    SleepAction,
    TokenFile,
    UnsupportedVolume,
)
from tridentserve_local.volume_files import File, objects_needed, render
from tridentserve_local.wire import parse_quantity, parse_timestamp, timestamp

METRICS_PORT = [{"name": "metrics", "containerPort": 1}]
PLACE = Place(pod_ip="127.1.1.1", host_ip="127.1.0.1", allocatable={})
POD = parse_pod(
    {
        "metadata": {"uid": "u", "namespace": "ns", "name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "main"}]},
    }
)
OBJECTS: Objects = {
    ("ConfigMap", "conf"): {"one": b"1", "two": b"2"},
    ("Secret", "hidden"): {"three": b"\xff"},
    ("ConfigMap", "gone"): None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("250m", 0.25),
        ("1.5Gi", 1.5 * 2**30),
        ("1e3", 1000),
        ("1E3", 1000),
        ("2E", 2e18),
        ("2Ei", 2 * 2**60),
        ("100k", 100_000),
        ("5n", 5e-9),
        ("-1", -1),
    ],
)
def test_quantities(text: str, expected: float) -> None:
    assert float(parse_quantity(text)) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi Gi", "Ki", "1ki", "--1", "1.m"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    if text == "1.m":  # a dangling point is fine for Kubernetes too
        assert float(parse_quantity(text)) == pytest.approx(0.001)
        return
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def test_times_survive_the_way_there_and_back() -> None:
    assert parse_timestamp(timestamp(1_700_000_000)) == 1_700_000_000
    assert timestamp(1.5, micro=True) == "1970-01-01T00:00:01.500000Z"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"emptyDir": {}}, EmptyDir()),
        ({"emptyDir": None}, EmptyDir()),
        ({"emptyDir": {"medium": "Memory"}}, EmptyDir(memory=True)),
        ({"hostPath": {"path": "/x"}}, HostPath(path="/x")),
        ({"persistentVolumeClaim": {"claimName": "c"}}, Claim(name="c")),
        ({"csi": {"driver": "d"}}, UnsupportedVolume(kind="csi")),
        ({"projected": {}}, Files(sources=())),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            Files(sources=(TokenFile(path="t", audience="", expiration_s=3600),)),
        ),
    ],
)
def test_volume_sources(raw: dict[str, Any], expected: object) -> None:
    assert parse_volume({"name": "v", **raw}) == expected


def files(**raw: Any) -> dict[str, File]:
    source = parse_volume({"name": "v", **raw})
    assert isinstance(source, Files)
    return render(source, POD, PLACE, OBJECTS)


def test_a_config_map_without_items_is_all_its_keys() -> None:
    assert files(configMap={"name": "conf"}) == {
        "one": File(b"1", 0o644),
        "two": File(b"2", 0o644),
    }


def test_items_choose_name_and_mode() -> None:
    items = [{"key": "two", "path": "deep/er", "mode": 0o400}]

    assert files(configMap={"name": "conf", "items": items, "defaultMode": 0o600}) == {
        "deep/er": File(b"2", 0o400)
    }


def test_secrets_are_bytes() -> None:
    assert files(secret={"secretName": "hidden"})["three"].content == b"\xff"


def test_later_sources_of_a_projection_win() -> None:
    fields = {"items": [{"path": "one", "fieldRef": {"fieldPath": "metadata.name"}}]}
    sources = [{"configMap": {"name": "conf"}}, {"downwardAPI": fields}]

    assert files(projected={"sources": sources})["one"].content == b"p"


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"name": "gone"}, 'configmap "gone" not found'),
        ({"name": "conf", "items": [{"key": "x", "path": "x"}]}, "non-existent config key: x"),
    ],
)
def test_what_is_missing_is_named_unless_it_is_optional(
    raw: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        files(configMap=raw)

    assert files(configMap={**raw, "optional": True}) == {}


def test_objects_needed_are_exactly_those_render_asks_for() -> None:
    sources = [{"configMap": {"name": "conf"}}, {"secret": {"name": "hidden"}}]
    source = parse_volume({"name": "v", "projected": {"sources": sources}})
    assert isinstance(source, Files)

    assert objects_needed(source) == {("ConfigMap", "conf"), ("Secret", "hidden")}


def test_probes_and_hooks_get_the_servers_defaults() -> None:
    made = parse_container(
        {
            "name": "main",
            "readinessProbe": {"httpGet": {"port": "http"}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        }
    )

    assert made.readiness is not None
    assert made.readiness.action == HttpAction(
        host="", port="http", path="/", scheme="HTTP", headers=()
    )
    assert (made.readiness.period_s, made.readiness.timeout_s) == (10, 1)
    assert made.readiness.failure_threshold == 3
    assert made.pre_stop == SleepAction(seconds=3)


def test_a_pod_remembers_the_restarts_of_containers_that_ran() -> None:
    raw = {
        "metadata": {"uid": "u", "namespace": "n", "name": "p"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "a", "restartCount": 3, "containerID": "process://x"},
                {"name": "b", "restartCount": 0},
            ],
        },
    }

    assert parse_pod(raw).restarts == {"a": 3}


def scraped(**fields: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "ns",
            "name": fields.get("name", "p"),
            "labels": fields.get("labels", {LABEL_PART_OF: PART_OF}),
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [
                {"ports": fields.get("ports", [{"name": "metrics", "containerPort": 1}])}
            ],
        },
        "status": fields.get("status", {"podIP": "127.1.1.1", "phase": "Running"}),
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {}},
        {"labels": {LABEL_PART_OF: "other"}},
        {"ports": []},
        {"ports": [{"name": "grpc", "containerPort": 1}]},
        {"ports": [{"containerPort": 9400}]},
        {"status": {"phase": "Pending"}},
        {"status": {"podIP": "127.1.1.1", "phase": "Succeeded"}},
        {"status": {"podIP": "127.1.1.1", "phase": "Failed"}},
    ],
)
def test_what_is_not_ours_or_cannot_answer_is_not_scraped(fields: dict[str, Any]) -> None:
    assert targets([scraped(**fields)]) == []


def test_labels_without_a_value_are_left_out() -> None:
    labels = {LABEL_PART_OF: PART_OF, LABEL_PIPELINE: "flux"}

    (group,) = targets([scraped(labels=labels)])

    assert group == {
        "targets": ["127.1.1.1:1"],
        "labels": {"namespace": "ns", "pod": "p", "node": "node-1", "pipeline": "ns/flux"},
    }


def test_the_scrape_configuration_honours_labels_of_the_components() -> None:
    made = yaml.safe_load(scrape_configuration("http://127.0.0.1:1/targets", 0.5))
    (job,) = made["scrape_configs"]

    assert job["honor_labels"] is True
    assert job["scrape_interval"] == "500ms"
    assert job["http_sd_configs"] == [
        {"url": "http://127.0.0.1:1/targets", "refresh_interval": "1s"}
    ]


@given(
    st.lists(st.text(alphabet="ab ", max_size=5), max_size=20), st.integers(0, 25), st.booleans()
)
def test_a_tail_is_the_last_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], wanted: int, ended: bool
) -> None:
    text = "\n".join(lines) + ("\n" if lines and ended else "")
    log = tmp_path_factory.mktemp("log") / "0.log"
    log.write_text(text)

    tail = text.encode()[start_of_tail(log, wanted) :].decode()

    assert tail == "".join(text.splitlines(keepends=True)[-wanted:] if wanted else [])


def test_the_tail_of_a_log_larger_than_a_block(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_text("".join(f"{i:09}\n" for i in range(20_000)))

    assert start_of_tail(log, 10_000) == 100_000
    assert start_of_tail(log, 20_000) == 0
    assert start_of_tail(log, None) == 0


def test_settings_survive_a_command_line() -> None:
    chosen = ClusterSettings(nodes=3, gpus=2, redis_max_memory="16mb")

    assert ClusterSettings.from_json(chosen.to_json()) == chosen
    assert chosen.node_names == ("node-1", "node-2", "node-3")


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        ClusterSettings.from_json('{"colour": "red"}')


def test_two_clusters_never_share_a_folder_and_paths_for_sockets_stay_short() -> None:
    first, second = (Folders.of(Path(f"/home/someone/.local/{n}")) for n in ("a", "b"))
    uid = "12345678-1234-1234-1234-123456789012"

    assert first.memory != second.memory
    assert first.mark != second.mark
    assert len(str(first.control)) < 80
    assert len(str(first.pod(uid, "ns", "p").memory)) < 60
