"""A cluster that outlives the demo: the one that `tridentserve local status --name …` finds."""

from __future__ import annotations

from collections.abc import Callable

from tridentserve_local.cluster import ClusterError, LocalCluster, fetch_tools, launch
from tridentserve_local.daemon import runs
from tridentserve_local.folders import Folders, state_home
from tridentserve_local.settings import ClusterSettings


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
        self._folders = Folders.of(state_home() / self._name)
        if runs(self._folders):
            raise ClusterError(
                f"a cluster {self._name!r} runs already; end it with:"
                f" tridentserve local down --name {self._name}"
            )
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
