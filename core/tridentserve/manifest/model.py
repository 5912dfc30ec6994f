"""Where a model folder lies, read from its URI."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPath:
    """A folder of a persistent volume claim in the pipeline's namespace."""

    claim: str
    path: str
    """Below the volume; empty for its root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePath:
    """A folder that the containers see by themselves."""

    path: str
    """Absolute."""


def model_location(uri: str) -> ClaimPath | FilePath:
    """Take a URI apart whose form the resource has checked already.

    >>> model_location("pvc://models/flux/dev")
    ClaimPath(claim='models', path='flux/dev')
    >>> model_location("file:///models/flux")
    FilePath(path='/models/flux')
    """
    scheme, _, rest = uri.partition("://")
    if scheme == "file":
        return FilePath(path=rest)
    claim, _, path = rest.partition("/")
    return ClaimPath(claim=claim, path=path)
