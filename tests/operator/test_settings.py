"""Settings: read once, and refused by the name of the variable."""

import subprocess
import sys

import pytest

from tridentserve.errors import InvalidFieldError
from tridentserve_operator.settings import Settings, from_environment


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_environment({}) == Settings()


def test_variables_that_are_set_and_empty_are_as_if_they_were_not() -> None:
    names = ("PROMETHEUS_URL", "REDIS_URL", "CPU_UNIT", "FILE_ROOTS", "WATCH_NAMESPACES")

    assert from_environment({f"TRIDENTSERVE_{name}": "" for name in names}) == Settings()


def test_everything_can_be_set() -> None:
    found = from_environment(
        {
            "TRIDENTSERVE_PROMETHEUS_URL": "http://p:9090/",
            "TRIDENTSERVE_REDIS_URL": "redis://r",
            "TRIDENTSERVE_REDIS_SECRET_NAME": "redis",
            "TRIDENTSERVE_REDIS_SECRET_KEY": "address",
            "TRIDENTSERVE_IMAGE": "img:2",
            "TRIDENTSERVE_SHM_HOST_PATH": "/dev/shm/ts",
            "TRIDENTSERVE_SHM_NAMESPACES": "a, b",
            "TRIDENTSERVE_FILE_ROOTS": "/models:/srv",
            "TRIDENTSERVE_CPU_UNIT": "4",
            "TRIDENTSERVE_LOAD_WINDOW_SECONDS": "20",
            "TRIDENTSERVE_LOAD_INTERVAL_SECONDS": "0.5",
            "TRIDENTSERVE_LOAD_MAX_AGE_SECONDS": "9",
            "TRIDENTSERVE_ROUTER_CLUSTER_ROLE": "role",
            "TRIDENTSERVE_WATCH_NAMESPACES": "a,b,",
            "TRIDENTSERVE_LOG_FORMAT": "text",
            "TRIDENTSERVE_TICK_SECONDS": "0.2",
            "TRIDENTSERVE_STEP_TIMEOUT_SECONDS": "30",
            "TRIDENTSERVE_UNSCHEDULABLE_SECONDS": "7",
            "TRIDENTSERVE_RETRY_SECONDS": "8",
            "TRIDENTSERVE_STALL_SECONDS": "1200",
            "TRIDENTSERVE_TENSOR_TTL_SECONDS": "3600",
            "TRIDENTSERVE_METRICS_PORT": "0",
            "POD_IP": "10.0.0.7",
        }
    )

    assert found == Settings(
        prometheus_url="http://p:9090",
        redis_url="redis://r",
        redis_secret_name="redis",
        redis_secret_key="address",
        image="img:2",
        shm_host_path="/dev/shm/ts",
        shm_namespaces=frozenset({"a", "b"}),
        file_roots=("/models", "/srv"),
        cpu_unit_millicores=4000,
        load_window_s=20,
        load_interval_s=0.5,
        load_max_age_s=9.0,
        router_cluster_role="role",
        watch_namespaces=("a", "b"),
        log_format="text",
        tick_s=0.2,
        step_timeout_s=30.0,
        unschedulable_s=7.0,
        retry_s=8.0,
        stall_s=1200.0,
        tensor_ttl_s=3600.0,
        host="10.0.0.7",
        port=0,
    )
    assert found.shares_memory("a")
    assert not found.shares_memory("c")


@pytest.mark.parametrize(("unit", "millicores"), [("500m", 500), ("1", 1000), ("2.5", 2500)])
def test_the_cpu_unit_is_written_as_kubernetes_does(unit: str, millicores: int) -> None:
    assert from_environment({"TRIDENTSERVE_CPU_UNIT": unit}).cpu_unit_millicores == millicores


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRIDENTSERVE_CPU_UNIT", "many"),
        ("TRIDENTSERVE_CPU_UNIT", "0"),
        ("TRIDENTSERVE_CPU_UNIT", "-1"),
        ("TRIDENTSERVE_CPU_UNIT", "nan"),
        ("TRIDENTSERVE_TICK_SECONDS", "0"),
        ("TRIDENTSERVE_LOAD_WINDOW_SECONDS", "inf"),
        ("TRIDENTSERVE_LOAD_WINDOW_SECONDS", "500m"),
        ("TRIDENTSERVE_METRICS_PORT", "65536"),
        ("TRIDENTSERVE_METRICS_PORT", "-1"),
        ("TRIDENTSERVE_LOG_FORMAT", "xml"),
        ("TRIDENTSERVE_SHM_HOST_PATH", "relative"),
        ("TRIDENTSERVE_FILE_ROOTS", "models"),
    ],
)
def test_nonsense_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        from_environment({variable: value})

    assert caught.value.field == variable


def test_the_process_ends_with_78_and_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tridentserve_operator"],
        env={"TRIDENTSERVE_CPU_UNIT": "many"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 78
    assert done.stderr.strip() == (
        "tridentserve-operator: TRIDENTSERVE_CPU_UNIT: 'many' is no number above 0"
    )
