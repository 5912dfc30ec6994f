"""Finding a pipeline's router through a kubeconfig, where its address can be reached from here.

On a local cluster every pod has a loopback address, so that its router can be called directly. On
any other cluster pod addresses mean nothing outside of it; then the error says which port-forward
to run.
"""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from tridentserve.domain import names
from tridentserve.domain.addresses import authority
from tridentserve.errors import InvalidFieldError, NotFoundError, UnavailableError

_TIMEOUT_S = 10.0

Pod = Mapping[str, Any]


async def find_endpoint(
    *, pipeline: str | None, namespace: str | None, kubeconfig: str | None
) -> str:
    """`host:port` of the router of a pipeline.

    Args:
        pipeline: its name; None takes the only one of the namespace.
        namespace: None takes that of the kubeconfig's context.
        kubeconfig: a file; None takes `KUBECONFIG`, else the one of the home directory.

    Raises:
        NotFoundError: no such router, or several to choose from.
        InvalidFieldError: the kubeconfig cannot be used.
        UnavailableError: the API server does not answer, or the router cannot be called directly.
    """
    pods, namespace = await _router_pods(namespace, kubeconfig)
    return choose_endpoint(pods, pipeline=pipeline, namespace=namespace)


def choose_endpoint(pods: Sequence[Pod], *, pipeline: str | None, namespace: str) -> str:
    """The address to call among the router pods of a namespace; see `find_endpoint`."""
    if pipeline is None:
        pipeline = _only_pipeline(pods, namespace)
    address = next((pod["status"]["podIP"] for pod in _usable(pods, pipeline)), None)
    if address is None:
        raise NotFoundError(
            f"pipeline {namespace}/{pipeline} has no running router;"
            f" see `kubectl -n {namespace} describe dp {pipeline}`"
        )
    if not ipaddress.ip_address(address).is_loopback:
        port = names.PORT_GRPC
        raise UnavailableError(
            f"the router's address {address} is inside of the cluster; run `kubectl -n {namespace}"
            f" port-forward deployment/{names.router_name(pipeline)} {port}:{port}` and give"
            f" --endpoint 127.0.0.1:{port}"
        )
    return authority(address, names.PORT_GRPC)


def _pipeline_of(pod: Pod) -> str:
    return str(pod["metadata"].get("labels", {}).get(names.LABEL_PIPELINE, ""))


def _only_pipeline(pods: Sequence[Pod], namespace: str) -> str:
    found = sorted({_pipeline_of(pod) for pod in pods} - {""})
    match found:
        case [one]:
            return one
        case []:
            raise NotFoundError(f"no pipeline has a router in the namespace {namespace}; use -n")
        case _:
            raise NotFoundError(f"several pipelines are there ({', '.join(found)}); use --pipeline")


def _usable(pods: Sequence[Pod], pipeline: str) -> list[Pod]:
    """Router pods with an address that are not on their way out, ready ones first."""
    found = [
        pod
        for pod in pods
        if _pipeline_of(pod) == pipeline
        and pod.get("status", {}).get("podIP")
        and pod["status"].get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    ]
    return sorted(found, key=lambda pod: not _is_ready(pod))


def _is_ready(pod: Pod) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _kubeconfig(given: str | None) -> str:
    return os.path.expanduser(given or os.environ.get("KUBECONFIG") or "~/.kube/config")


async def _router_pods(namespace: str | None, kubeconfig: str | None) -> tuple[list[Pod], str]:
    try:
        import yaml
        from kubernetes.aio import config
        from kubernetes.aio.client import ApiClient, Configuration
    except ImportError:
        raise UnavailableError(
            "finding a router needs more packages; run `pip install tridentserve[client]`,"
            " or give --endpoint"
        ) from None
    path = _kubeconfig(kubeconfig)
    loaders: Any = config  # they carry no types
    configuration = Configuration()
    try:
        await loaders.load_kube_config(
            config_file=path, client_configuration=configuration, persist_config=False
        )
        _, active = loaders.list_kube_config_contexts(config_file=path)
        client = ApiClient(configuration)  # reads the certificates
    # The library fails in ways of its own over a file that is empty, cut off or of something else.
    except (
        loaders.ConfigException,
        OSError,
        yaml.YAMLError,
        TypeError,
        KeyError,
        AttributeError,
        ValueError,
    ) as error:
        raise InvalidFieldError("--kubeconfig", f"{path} cannot be used: {error}") from None
    namespace = namespace or active.get("context", {}).get("namespace") or "default"
    async with client:
        return await _list(client, namespace), namespace


async def _list(client: Any, namespace: str) -> list[Pod]:
    from kubernetes.aio.client import ApiException, CoreV1Api

    try:
        answer = await CoreV1Api(client).list_namespaced_pod(
            namespace,
            label_selector=f"{names.LABEL_COMPONENT}=router,{names.LABEL_PIPELINE}",
            _request_timeout=_TIMEOUT_S,
        )
    except ApiException as error:
        raise UnavailableError(f"the API server answers {error.status} {error.reason}") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"the API server does not answer: {error}") from None
    pods: list[Pod] = client.sanitize_for_serialization(answer.items)
    return pods
