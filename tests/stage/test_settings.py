"""What a worker reads from its environment, and the sentence that names a bad variable."""

import dataclasses
from pathlib import Path

import pytest

from tridentserve.domain.stages import Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.stage.settings import from_environment

HAND = {"TRIDENTSERVE_MODEL_DIR": "/models/flux"}
POD = {
    **HAND,
    "TRIDENTSERVE_STAGES": "diffuse",
    "POD_NAME": "flux-diffuse-0",
    "POD_NAMESPACE": "team",
    "POD_UID": "uid-1",
    "POD_IP": "10.1.2.3",
    "NODE_NAME": "node-1",
    "TRIDENTSERVE_PIPELINE": "team/flux",
    "TRIDENTSERVE_POOL": "flux-diffuse-50-a1b2c3",
    "TRIDENTSERVE_REVISION": "a1b2c3",
    "TRIDENTSERVE_FRACTION_PERCENT": "50",
    "TRIDENTSERVE_THREADS": "2",
    "TRIDENTSERVE_DTYPE": "bfloat16",
    "TRIDENTSERVE_DRAIN_SECONDS": "30",
    "TRIDENTSERVE_REDIS_URL": "redis://cache:6379/0",
    "TRIDENTSERVE_SHM_DIR": "/shm",
    "TRIDENTSERVE_BATCH_MAX_SIZE": "4",
    "TRIDENTSERVE_BATCH_MAX_WAIT_MILLISECONDS": "25",
    "TRIDENTSERVE_LOG_FORMAT": "json",
    "TRIDENTSERVE_STALL_SECONDS": "60",
    "TRIDENTSERVE_TENSOR_TTL_SECONDS": "900",
}


def test_by_hand_a_worker_binds_the_loopback_and_needs_only_stage_and_model() -> None:
    own = from_environment(HAND, "encode")

    assert (own.host, own.grpc_port, own.metrics_port) == ("127.0.0.1", 8500, 9400)
    assert (own.stages, own.model_dir) == ((Stage.ENCODE,), Path("/models/flux"))
    assert own.devices == (f"cpu/{own.pod_uid}",)
    assert not own.on_gpu
    assert (own.redis_url, own.shm_dir, own.threads) == (None, None, None)
    assert (own.max_batch, own.fraction_percent, own.log_format) == (1, 100, "text")


def test_everything_that_a_pod_is_told_arrives() -> None:
    own = from_environment(POD)

    assert (own.worker, own.pod_uid, own.host, own.node) == (
        "flux-diffuse-0",
        "uid-1",
        "10.1.2.3",
        "node-1",
    )
    assert own.devices == ("cpu/uid-1",)
    assert (own.fraction_percent, own.threads, own.dtype) == (50, 2, "bfloat16")
    assert (own.max_batch, own.max_wait_s) == (4, 0.025)
    assert (own.drain_s, own.stall_s, own.tensor_ttl_s) == (30.0, 60.0, 900.0)
    assert (own.redis_url, own.shm_dir) == ("redis://cache:6379/0", Path("/shm"))
    assert all(value is not None for value in dataclasses.astuple(own))


@pytest.mark.parametrize("value", ["decode,encode", " encode , decode ", "decode.encode"])
def test_stages_are_in_pipeline_order_however_they_are_written(value: str) -> None:
    assert from_environment(HAND, value).stages == (Stage.ENCODE, Stage.DECODE)


def test_the_command_line_comes_before_the_environment() -> None:
    assert from_environment(POD, "encode").stages == (Stage.ENCODE,)


@pytest.mark.parametrize("value", ["", "void", "none", " , "])
def test_no_visible_device_is_the_cpu(value: str) -> None:
    assert from_environment({**POD, "NVIDIA_VISIBLE_DEVICES": value}).devices == ("cpu/uid-1",)


def test_visible_devices_keep_their_order_and_get_their_node() -> None:
    own = from_environment({**POD, "NVIDIA_VISIBLE_DEVICES": "GPU-b,GPU-a"})

    assert own.devices == ("node-1/GPU-b", "node-1/GPU-a")
    assert own.on_gpu


@pytest.mark.parametrize("value", ["", "void", "all"])
def test_gpus_that_the_environment_does_not_name_are_those_that_cuda_shows(value: str) -> None:
    held = {**POD, "NVIDIA_VISIBLE_DEVICES": value, "TRIDENTSERVE_GPU_COUNT": "2"}

    own = from_environment(held, visible=lambda: ("GPU-b", "GPU-a"))

    assert own.devices == ("node-1/GPU-b", "node-1/GPU-a")
    assert own.on_gpu


def test_all_gpus_of_a_worker_run_by_hand_are_those_that_cuda_shows() -> None:
    held = {**POD, "NVIDIA_VISIBLE_DEVICES": "all"}

    assert from_environment(held, visible=lambda: ("GPU-a",)).devices == ("node-1/GPU-a",)
    assert from_environment(held, visible=lambda: ()).devices == ("cpu/uid-1",)


def test_a_pod_whose_gpu_cannot_be_seen_does_not_fall_back_to_the_cpu() -> None:
    held = {**POD, "NVIDIA_VISIBLE_DEVICES": "void", "TRIDENTSERVE_GPU_COUNT": "1"}

    with pytest.raises(InvalidFieldError, match="was given 1, but CUDA shows 0"):
        from_environment(held, visible=lambda: ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRIDENTSERVE_MODEL_DIR", ""),
        ("TRIDENTSERVE_STAGES", ""),
        ("TRIDENTSERVE_STAGES", "encode,upscale"),
        ("TRIDENTSERVE_FRACTION_PERCENT", "0"),
        ("TRIDENTSERVE_FRACTION_PERCENT", "101"),
        ("TRIDENTSERVE_FRACTION_PERCENT", "half"),
        ("TRIDENTSERVE_THREADS", "-1"),
        ("TRIDENTSERVE_BATCH_MAX_SIZE", "0"),
        ("TRIDENTSERVE_BATCH_MAX_SIZE", "1.5"),
        ("TRIDENTSERVE_BATCH_MAX_WAIT_MILLISECONDS", "-1"),
        ("TRIDENTSERVE_BATCH_MAX_WAIT_MILLISECONDS", "nan"),
        ("TRIDENTSERVE_DRAIN_SECONDS", "inf"),
        ("TRIDENTSERVE_STALL_SECONDS", "0"),
        ("TRIDENTSERVE_TENSOR_TTL_SECONDS", "0"),
        ("TRIDENTSERVE_GRPC_PORT", "65536"),
        ("TRIDENTSERVE_METRICS_PORT", "http"),
        ("TRIDENTSERVE_LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        from_environment({**POD, name: value})

    assert caught.value.field == name
