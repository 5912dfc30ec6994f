"""From a model folder to runners: synthetic, or whatever the services registered for diffusers.

Loading runs in the engine's thread, which is the one that uses the runners, and takes from
milliseconds to minutes. What goes wrong is a `ModelError`: one plain sentence that says what to do.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from tridentserve.domain import names
from tridentserve.domain.stages import Stage
from tridentserve.errors import PermanentError, TridentServeError
from tridentserve.stage import synthetic
from tridentserve.stage.runner import StageRunner
from tridentserve.stage.settings import StageSettings

_log = logging.getLogger(__name__)

_GROUP = "tridentserve.runners"
_DIFFUSERS_FILE = "model_index.json"

Load = Callable[[], StageRunner]


class ModelError(PermanentError):
    """The model cannot be served as this worker is set up; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Runners by stage, and the seconds that each took to load."""

    runners: Mapping[Stage, StageRunner]
    seconds: Mapping[Stage, float]


def load(settings: StageSettings, sleep: synthetic.Sleep) -> Loaded:
    """Load every stage of the settings; blocks.

    Args:
        settings: of this worker.
        sleep: how a synthetic runner waits.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
    """
    runners: dict[Stage, StageRunner] = {}
    seconds: dict[Stage, float] = {}
    loaders = {stage: _loader(stage, settings, sleep) for stage in settings.stages}
    for index, (stage, loader) in enumerate(loaders.items(), start=1):
        step = {"stage": stage, "index": index, "of": len(loaders), "model": settings.model_dir}
        _log.info("loading stage", extra=step)
        start_s = time.monotonic()
        runners[stage] = _load(stage, loader, settings)
        seconds[stage] = time.monotonic() - start_s
        _log.info("loaded stage", extra={**step, "seconds": round(seconds[stage], 3)})
    digests = {runner.model.digest for runner in runners.values()}
    if len(digests) > 1:
        raise ModelError(
            f"the model in {settings.model_dir} changed while it was loaded; start again"
        )
    return Loaded(runners=runners, seconds=seconds)


def _loader(stage: Stage, settings: StageSettings, sleep: synthetic.Sleep) -> Load:
    folder = settings.model_dir
    if not folder.is_dir():
        raise ModelError(
            f"the model folder {folder} does not exist or cannot be read; check spec.model.uri and"
            f" that the volume holds the model ({names.ENV_MODEL_DIR})"
        )
    if (folder / _DIFFUSERS_FILE).is_file():
        return _registered(stage, settings)
    if (folder / synthetic.FILE).is_file():
        return lambda: synthetic.SyntheticRunner(
            stage,
            synthetic.read_model(folder),
            fraction_percent=settings.fraction_percent,
            sleep=sleep,
        )
    raise ModelError(
        f"{folder} holds no model: there is neither a {_DIFFUSERS_FILE} (a diffusers model) nor a"
        f" {synthetic.FILE}; point spec.model.uri at the folder that does"
    )


def _registered(stage: Stage, settings: StageSettings) -> Load:
    found = tuple(entry_points(group=_GROUP, name=stage))
    if not found:
        raise ModelError(
            f"nothing installed can run {stage} of a diffusers model; install the package that"
            f" registers {stage!r} in the entry points {_GROUP!r}"
        )

    def loader() -> StageRunner:
        runner: StageRunner = found[0].load()(settings)
        return runner

    return loader


def _load(stage: Stage, loader: Load, settings: StageSettings) -> StageRunner:
    try:
        return loader()
    except TridentServeError as error:
        raise ModelError(f"cannot load {stage} from {settings.model_dir}: {error}") from error
    except ImportError as error:
        raise ModelError(
            f"cannot load {stage}: {error}; install what it needs: pip install"
            " 'tridentserve[stages]'"
        ) from error
    except Exception as error:
        _log.exception("loading failed", extra={"stage": stage, "model": settings.model_dir})
        raise ModelError(
            f"cannot load {stage} from {settings.model_dir}: {type(error).__name__}: {error}; the"
            " log above has the traceback"
        ) from error
