"""A cluster that outlives the demo: the one that `tridentserve local status --name …` finds."""

from __future__ import annotations

from collections.abc import Callable

from tridentserve_local.cluster import LocalCluster
from tridentserve_local.daemon import runs
from tridentserve_local.folders import Folders, state_home
from tridentserve_local.settings import ClusterSettings
from tridentserve_local.starting import ClusterError, fetch_tools, launch


class KeptCluster(LocalCluster):
    """Like `local up`; leaving the `with` block ends nothing."""

    def __init__(
        self, name: str, settings: ClusterSettings, progress: Callable[[str, float], None]
    ) -> None:
        """Choose; nothing starts yet."""
        super().__init__(settings=settings, progress=progress)
        self._name = name

    def start(self) -> LocalCluster:
        """Bring it up.

        Raises:
            ClusterError: one of that name runs, or it did not come up.
        """
        refuse_second(self._name)
        self._folders = Folders.of(state_home() / self._name)
        fetch_tools(self._settings)
        self._process, self._description = launch(
            self._folders,
            self._settings,
            with_stdin=False,
            remove=False,
            progress=self._progress,
        )
        return self

    def stop(self) -> None:
        """Leave it running."""


def is_up(name: str) -> bool:
    """Whether a cluster of that name runs."""
    return runs(Folders.of(state_home() / name))


def refuse_second(name: str) -> None:
    """Say so where one runs already.

    Raises:
        ClusterError: it does.
    """
    if is_up(name):
        raise ClusterError(
            f"a cluster {name!r} runs already; end it with: tridentserve local down --name {name}"
        )
