"""From the API's JSON of a pod to the values of `specs`.

The API server has validated and defaulted the object, so parsing trusts its structure and knows
only the defaults that the server leaves out.
"""

from __future__ import annotations

from .specs import (
    Action,
    Claim,
    Condition,
    Container,
    EmptyDir,
    EnvFrom,
    EnvVar,
    ExecAction,
    FieldFile,
    FieldRef,
    Files,
    FileSource,
    GrpcAction,
    HostPath,
    HttpAction,
    ItemPath,
    KeyRef,
    Mount,
    ObjectFiles,
    ObjectKind,
    ObjectRef,
    Pod,
    Probe,
    ResourceRef,
    SleepAction,
    TcpAction,
    TokenFile,
    UnsupportedVolume,
    VolumeSource,
)
from .wire import Json, parse_timestamp


def parse_pod(raw: Json) -> Pod:
    """The pod that the API server's JSON describes."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    deleted = meta.get("deletionTimestamp")
    grace = meta.get("deletionGracePeriodSeconds")
    return Pod(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        generation=meta.get("generation", 0),
        node=spec.get("nodeName", ""),
        service_account=spec.get("serviceAccountName") or "default",
        restart_policy=spec.get("restartPolicy", "Always"),
        hostname=spec.get("hostname") or meta["name"],
        grace_s=float(spec.get("terminationGracePeriodSeconds", 30)),
        containers=tuple(parse_container(c) for c in spec["containers"]),
        init_containers=tuple(parse_container(c) for c in spec.get("initContainers") or ()),
        volumes={v["name"]: parse_volume(v) for v in spec.get("volumes") or ()},
        readiness_gates=tuple(g["conditionType"] for g in spec.get("readinessGates") or ()),
        deleted_at=parse_timestamp(deleted) if deleted else None,
        deletion_grace_s=None if grace is None else float(grace),
        phase=status.get("phase", ""),
        conditions=parse_conditions(status),
        restarts=_restarts(status),
    )


def parse_conditions(status: Json) -> dict[str, Condition]:
    """Conditions by type."""
    return {
        c["type"]: Condition(status=c["status"], since=c.get("lastTransitionTime") or "")
        for c in status.get("conditions") or ()
    }


def parse_container(raw: Json) -> Container:
    """The container that an entry of `containers` or `initContainers` describes."""
    hooks = raw.get("lifecycle") or {}
    resources = raw.get("resources") or {}
    limits = {k: str(v) for k, v in (resources.get("limits") or {}).items()}
    requests = {k: str(v) for k, v in (resources.get("requests") or {}).items()}
    return Container(
        name=raw["name"],
        image=raw.get("image", ""),
        command=tuple(raw.get("command") or ()),
        args=tuple(raw.get("args") or ()),
        working_dir=raw.get("workingDir", ""),
        env=tuple(_env_var(e) for e in raw.get("env") or ()),
        env_from=tuple(_env_from(e) for e in raw.get("envFrom") or ()),
        mounts=tuple(_mount(m) for m in raw.get("volumeMounts") or ()),
        ports={p["name"]: p["containerPort"] for p in raw.get("ports") or () if "name" in p},
        requests=requests,
        limits=limits,
        startup=_probe(raw.get("startupProbe")),
        readiness=_probe(raw.get("readinessProbe")),
        liveness=_probe(raw.get("livenessProbe")),
        post_start=_action(hooks.get("postStart")),
        pre_stop=_action(hooks.get("preStop")),
        log_on_error=raw.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        restart_always=raw.get("restartPolicy") == "Always",
    )


def parse_volume(raw: Json) -> VolumeSource:
    """Where the files of an entry of `volumes` come from."""
    if "emptyDir" in raw:
        return EmptyDir(memory=(raw["emptyDir"] or {}).get("medium") == "Memory")
    if "hostPath" in raw:
        return HostPath(path=raw["hostPath"]["path"], type=raw["hostPath"].get("type") or "")
    if "persistentVolumeClaim" in raw:
        return Claim(name=raw["persistentVolumeClaim"]["claimName"])
    if "projected" in raw:
        projected = raw["projected"]
        sources = [s for p in projected.get("sources") or () for s in _file_sources(p)]
        return Files(sources=tuple(sources), mode=projected.get("defaultMode", 0o644))
    for kind in ("configMap", "secret", "downwardAPI"):
        if kind in raw:
            mode = raw[kind].get("defaultMode", 0o644)
            return Files(sources=tuple(_file_sources({kind: raw[kind]})), mode=mode)
    return UnsupportedVolume(kind=next((k for k in raw if k != "name"), "unknown"))


def _restarts(status: Json) -> dict[str, int]:
    known = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return {c["name"]: c.get("restartCount", 0) for c in known if c.get("containerID")}


def _file_sources(raw: Json) -> list[FileSource]:
    if "configMap" in raw:
        return [_object_files("ConfigMap", raw["configMap"], "name")]
    if "secret" in raw:  # a secret volume says secretName, a projected secret says name
        name = "secretName" if "secretName" in raw["secret"] else "name"
        return [_object_files("Secret", raw["secret"], name)]
    if "serviceAccountToken" in raw:
        token = raw["serviceAccountToken"]
        expiration_s = token.get("expirationSeconds", 3600)
        audience = token.get("audience", "")
        return [TokenFile(path=token["path"], audience=audience, expiration_s=expiration_s)]
    return [
        FieldFile(path=item["path"], value=_field(item), mode=item.get("mode"))
        for item in (raw.get("downwardAPI") or {}).get("items") or ()
    ]


def _object_files(kind: ObjectKind, raw: Json, name: str) -> ObjectFiles:
    items = tuple(
        ItemPath(key=i["key"], path=i["path"], mode=i.get("mode")) for i in raw.get("items") or ()
    )
    return ObjectFiles(object=_object(kind, raw, name), items=items)


def _object(kind: ObjectKind, raw: Json, name: str = "name") -> ObjectRef:
    return ObjectRef(kind=kind, name=raw.get(name, ""), optional=bool(raw.get("optional")))


def _field(raw: Json) -> FieldRef | ResourceRef:
    if "fieldRef" in raw:
        return FieldRef(path=raw["fieldRef"]["fieldPath"])
    ref = raw["resourceFieldRef"]
    return ResourceRef(
        container=ref.get("containerName", ""),
        resource=ref["resource"],
        divisor=str(ref.get("divisor") or "1"),
    )


def _env_var(raw: Json) -> EnvVar:
    source = raw.get("valueFrom") or {}
    value: str | FieldRef | ResourceRef | KeyRef
    if "configMapKeyRef" in source:
        ref = source["configMapKeyRef"]
        value = KeyRef(object=_object("ConfigMap", ref), key=ref["key"])
    elif "secretKeyRef" in source:
        ref = source["secretKeyRef"]
        value = KeyRef(object=_object("Secret", ref), key=ref["key"])
    elif source:
        value = _field(source)
    else:
        value = raw.get("value", "")
    return EnvVar(name=raw["name"], value=value)


def _env_from(raw: Json) -> EnvFrom:
    kind: ObjectKind = "ConfigMap" if "configMapRef" in raw else "Secret"
    ref = raw.get("configMapRef") or raw.get("secretRef") or {}
    return EnvFrom(object=_object(kind, ref), prefix=raw.get("prefix", ""))


def _mount(raw: Json) -> Mount:
    return Mount(
        volume=raw["name"],
        path=raw["mountPath"],
        sub_path=raw.get("subPath", ""),
        sub_path_expr=raw.get("subPathExpr", ""),
    )


def _probe(raw: Json | None) -> Probe | None:
    action = _action(raw)
    if raw is None or action is None:
        return None
    grace = raw.get("terminationGracePeriodSeconds")
    return Probe(
        action=action,
        initial_delay_s=float(raw.get("initialDelaySeconds", 0)),
        period_s=float(raw.get("periodSeconds") or 10),
        timeout_s=float(raw.get("timeoutSeconds") or 1),
        success_threshold=raw.get("successThreshold") or 1,
        failure_threshold=raw.get("failureThreshold") or 3,
        grace_s=None if grace is None else float(grace),
    )


def _action(raw: Json | None) -> Action | None:
    if not raw:
        return None
    if "exec" in raw:
        return ExecAction(command=tuple(raw["exec"].get("command") or ()))
    if "httpGet" in raw:
        http = raw["httpGet"]
        headers = tuple((h["name"], h.get("value", "")) for h in http.get("httpHeaders") or ())
        return HttpAction(
            host=http.get("host", ""),
            port=http["port"],
            path=http.get("path") or "/",
            scheme=http.get("scheme", "HTTP"),
            headers=headers,
        )
    if "tcpSocket" in raw:
        return TcpAction(host=raw["tcpSocket"].get("host", ""), port=raw["tcpSocket"]["port"])
    if "grpc" in raw:
        return GrpcAction(port=raw["grpc"]["port"], service=raw["grpc"].get("service") or "")
    if "sleep" in raw:
        return SleepAction(seconds=float(raw["sleep"]["seconds"]))
    return None
