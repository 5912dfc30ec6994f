"""Which address is called, or what people are told to do instead."""

from typing import Any

import pytest
from tests import kubeconfig

from tridentserve import errors
from tridentserve.client.finding import choose_endpoint, find_endpoint


def pod(
    pipeline: str = "flux",
    address: str | None = "127.3.2.1",
    *,
    ready: bool = True,
    phase: str = "Running",
    leaving: bool = False,
) -> dict[str, Any]:
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    if address is not None:
        status["podIP"] = address
    metadata: dict[str, Any] = {"labels": {"tridentserve.io/pipeline": pipeline}}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": status}


def choose(*pods: dict[str, Any], pipeline: str | None = "flux") -> str:
    return choose_endpoint(pods, pipeline=pipeline, namespace="team")


def test_the_routers_loopback_address_is_called() -> None:
    assert choose(pod("other", "127.0.0.9"), pod()) == "127.3.2.1:8500"


def test_a_ready_router_comes_before_one_that_is_not() -> None:
    assert choose(pod(address="127.0.0.2", ready=False), pod()) == "127.3.2.1:8500"
    assert choose(pod(address="127.0.0.2", ready=False)) == "127.0.0.2:8500"


@pytest.mark.parametrize("gone", [pod(leaving=True), pod(phase="Failed"), pod(address=None)])
def test_routers_that_are_gone_or_going_are_not_called(gone: dict[str, Any]) -> None:
    with pytest.raises(errors.NotFoundError, match="kubectl -n team describe dp flux"):
        choose(gone)


def test_an_address_inside_of_the_cluster_needs_a_port_forward() -> None:
    with pytest.raises(errors.UnavailableError) as caught:
        choose(pod(address="10.42.0.7"))

    command = "kubectl -n team port-forward deployment/flux-router 8500:8500"
    assert command in str(caught.value)
    assert "--endpoint 127.0.0.1:8500" in str(caught.value)


def test_the_only_pipeline_needs_no_name() -> None:
    assert choose(pod(), pod(address="127.0.0.2", ready=False), pipeline=None) == "127.3.2.1:8500"


def test_several_pipelines_are_named_to_choose_from() -> None:
    with pytest.raises(errors.NotFoundError, match=r"\(flux, sd3\); use --pipeline"):
        choose(pod(), pod("sd3"), pipeline=None)


def test_no_pipeline_at_all_says_where_it_looked() -> None:
    with pytest.raises(errors.NotFoundError, match="in the namespace team; use -n"):
        choose(pipeline=None)


async def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Any) -> None:
    path = str(tmp_path / "nothing")
    with pytest.raises(errors.InvalidFieldError, match="nothing cannot be used"):
        await find_endpoint(pipeline="flux", namespace=None, kubeconfig=path)


@pytest.mark.parametrize("content", ["", "- 1", "a: [", "x", "kind: Config"])
async def test_a_kubeconfig_that_is_none_is_named(tmp_path: Any, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(errors.InvalidFieldError, match="config cannot be used"):
        await find_endpoint(pipeline="flux", namespace=None, kubeconfig=str(path))


@pytest.mark.parametrize("authority", ["abc", "bm8gY2VydGlmaWNhdGU="])
async def test_a_kubeconfig_whose_authority_is_no_certificate_is_named(
    tmp_path: Any, authority: str
) -> None:
    path = kubeconfig.write(tmp_path, "https://127.0.0.1:1", authority=authority)
    with pytest.raises(errors.InvalidFieldError, match="config cannot be used"):
        await find_endpoint(pipeline="flux", namespace=None, kubeconfig=str(path))


async def test_an_api_server_that_does_not_answer_is_unavailable(tmp_path: Any) -> None:
    path = kubeconfig.write(tmp_path, "http://127.0.0.1:1", namespace="team")
    with pytest.raises(errors.UnavailableError, match="API server"):
        await find_endpoint(pipeline="flux", namespace=None, kubeconfig=str(path))
