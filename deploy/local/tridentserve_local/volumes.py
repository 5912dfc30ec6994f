"""The volumes of one pod as folders of this host.

A volume that cannot be provided now (its config map does not exist yet) is a `MountError` with a
sentence for the event; the pod waits and tries again. Files are replaced atomically, one by one: a
reader sees the old or the new content, never half of one.
"""

from __future__ import annotations

import os
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tridentserve.errors import TemporaryError

from .api import Api, ApiError
from .environment import ConfigError, Place, expand
from .folders import PodFolders
from .specs import Claim, Container, EmptyDir, Files, HostPath, Pod, TokenFile, UnsupportedVolume
from .tokens import Tokens
from .volume_files import File, objects_needed, render

SERVICE_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where the API server's admission mounts token, CA and namespace in every container."""

Objects = dict[tuple[str, str], Mapping[str, bytes] | None]


class MountError(TemporaryError):
    """A volume is not to be had now."""


class Volumes:
    """All volumes of a pod."""

    def __init__(self, api: Api, pod: Pod, place: Place, folders: PodFolders, host: Path) -> None:
        """Keep whose volumes these are; nothing is created before `prepare`."""
        self._api = api
        self._pod = pod
        self._place = place
        self._folders = folders
        self._host = host
        self._tokens = Tokens(api, pod)
        self._paths: dict[str, Path] = {}

    async def prepare(self, now: float) -> None:
        """Provides every volume; repeatable.

        Raises:
            MountError: one is not to be had now.
        """
        self._folders.create()
        for name, source in self._pod.volumes.items():
            match source:
                case EmptyDir():
                    base = self._folders.memory if source.memory else self._folders.root / "v"
                    self._paths[name] = _folder(base / name)
                case HostPath():
                    self._paths[name] = _host_path(source, self._host)
                case Claim():
                    self._paths[name] = await self._claimed(source.name)
                case Files():
                    self._paths[name] = _folder(self._folders.root / "v" / name)
                    await self._fill(name, source, now)
                case UnsupportedVolume():
                    raise MountError(f"volume {name!r}: {source.kind} volumes do not exist here")

    async def refresh(self, now: float) -> None:
        """Brings files up to date: changed config maps and secrets, tokens that end soon.

        Raises:
            MountError: something went missing; the files stay as they were.
        """
        for name, source in self._pod.volumes.items():
            if isinstance(source, Files):
                await self._fill(name, source, now)

    def mounts(self, container: Container, values: Mapping[str, str]) -> dict[str, Path]:
        """Host path by mount path; `values` expand `subPathExpr`.

        Raises:
            ConfigError: a sub-path leads out of its volume.
        """
        found = {}
        for mount in container.mounts:
            sub_path = mount.sub_path or expand(mount.sub_path_expr, values)
            target = self._paths[mount.volume]
            if sub_path:
                if ".." in PurePosixPath(sub_path).parts or sub_path.startswith("/"):
                    raise ConfigError(f"subPath {sub_path!r} must stay inside its volume")
                target = target / sub_path
                if not target.exists():
                    _folder(target)
            found[mount.path] = target
        return found

    async def objects(self, refs: set[tuple[str, str]]) -> Objects:
        """Contents of config maps and secrets of the pod's namespace, None for missing ones."""
        return {ref: await self._object(*ref) for ref in refs}

    async def _fill(self, name: str, source: Files, now: float) -> None:
        try:
            objects = await self.objects(objects_needed(source))
            files = render(source, self._pod, self._place, objects)
            for wanted in source.sources:
                if isinstance(wanted, TokenFile):
                    token = await self._tokens.get(name, wanted, now)
                    files[wanted.path] = File(token.encode(), 0o600)
        except (ConfigError, ApiError) as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{name}": {error}') from error
        _write_all(self._paths[name], files)

    async def _object(self, kind: str, name: str) -> Mapping[str, bytes] | None:
        plural = "configmaps" if kind == "ConfigMap" else "secrets"
        try:
            raw = await self._api.get(f"/api/v1/namespaces/{self._pod.namespace}/{plural}/{name}")
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        if kind == "Secret":
            return {key: b64decode(value) for key, value in (raw.get("data") or {}).items()}
        text = {key: value.encode() for key, value in (raw.get("data") or {}).items()}
        binary = {key: b64decode(value) for key, value in (raw.get("binaryData") or {}).items()}
        return text | binary

    async def _claimed(self, name: str) -> Path:
        try:
            path = f"/api/v1/namespaces/{self._pod.namespace}/persistentvolumeclaims/{name}"
            volume = (await self._api.get(path))["spec"].get("volumeName")
            if not volume:
                raise MountError(f'claim "{name}" is not bound to a volume yet')
            spec = (await self._api.get(f"/api/v1/persistentvolumes/{volume}"))["spec"]
        except ApiError as error:
            raise MountError(f'claim "{name}": {error}') from error
        source = spec.get("local") or spec.get("hostPath")
        if not source:
            raise MountError(f'persistent volume "{volume}" is neither of type local nor hostPath')
        return _real_folder(volume, Path(source["path"]))


def _real_folder(volume: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise MountError(f'persistent volume "{volume}": path "{folder}" does not exist')
    return folder


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _host_path(source: HostPath, host: Path) -> Path:
    """A path of the "host", which is a folder of the node on tmpfs."""
    path = host / source.path.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.type in ("", "DirectoryOrCreate"):
        return path if path.exists() else _folder(path)
    if source.type == "FileOrCreate":
        path.touch()
    if source.type == "Directory" and not path.is_dir():
        raise MountError(f"hostPath type check failed: {source.path} is not a directory")
    if source.type == "File" and not path.is_file():
        raise MountError(f"hostPath type check failed: {source.path} is not a file")
    return path


def _write_all(folder: Path, files: Mapping[str, File]) -> None:
    """Makes the folder hold exactly these files."""
    for relative, file in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != file.content:
            _replace(path, file)
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in files:
            path.unlink()


def _replace(path: Path, file: File) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="..")
    with os.fdopen(handle, "wb") as stream:
        stream.write(file.content)
    os.chmod(temporary, file.mode | 0o400)  # unreadable even for its owner would help nobody
    os.replace(temporary, path)
