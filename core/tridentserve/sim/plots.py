"""One page of plots: latencies, attainment over time and by class, and what devices did.

matplotlib is imported inside, without a display: whoever only runs the simulator needs none of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tridentserve.errors import InvalidFieldError
from tridentserve.sim.compare import label_of
from tridentserve.sim.plan.forecast import Forecast
from tridentserve.sim.report import attainment_curve, figures, latency_curve
from tridentserve.sim.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#bab0ac", "#e8e8e8")


def check(path: Path) -> None:
    """Refuse a file that no page can be written to, before anything has been simulated.

    Raises:
        InvalidFieldError: its ending is none of `FORMATS`, or its folder is not there.
    """
    if path.suffix not in FORMATS:
        raise InvalidFieldError(str(path), f"must end in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InvalidFieldError(str(path), f"there is no folder {path.parent}")


def page(results: Sequence[Result], path: Path) -> None:
    """Draw results of one or several policies on one page; of several seeds, the first is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_label: dict[str, Result] = {}
    for result in results:
        by_label.setdefault(label_of(result, results), result)
    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    _latency(axes[0][0], by_label)
    _attainment(axes[0][1], by_label)
    _classes(axes[1][0], by_label)
    if len(by_label) == 1:
        _devices(axes[1][1], next(iter(by_label.values())))
    else:
        _shares(axes[1][1], by_label)
    names = dict.fromkeys(one.scenario for one in results)
    figure.suptitle(", ".join(names))
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    # Without the date in it, equal results make equal files.
    dated = {".svg": "Date", ".pdf": "CreationDate"}.get(path.suffix)
    figure.savefig(path, dpi=120, metadata={} if dated is None else {dated: None})


def _latency(axes: "Axes", by_label: dict[str, Result]) -> None:
    for label, result in by_label.items():
        points = latency_curve(result)
        axes.step([x for x, _ in points], [y for _, y in points], where="post", label=label)
    axes.set(title="Latency", xlabel="seconds", ylabel="share of requests", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")


def _attainment(axes: "Axes", by_label: dict[str, Result]) -> None:
    for label, result in by_label.items():
        points = attainment_curve(result)
        axes.plot([x for x, _ in points], [y for _, y in points], label=label)
    axes.set(
        title="Deadlines met, by time of arrival", xlabel="seconds", ylabel="share", ylim=(0, 1.02)
    )
    axes.grid(alpha=0.3)


def _classes(axes: "Axes", by_label: dict[str, Result]) -> None:
    width = 0.8 / len(by_label)
    names: list[str] = []
    for number, (label, result) in enumerate(by_label.items()):
        classes = figures(result).classes
        names += [name for name in classes if name not in names]
        axes.bar(
            [names.index(name) + number * width for name in classes],
            [one.attainment for one in classes.values()],
            width=width,
            label=label,
        )
    axes.set_xticks([index + 0.4 - width / 2 for index in range(len(names))], names, rotation=30)
    axes.tick_params(axis="x", labelsize="small")
    axes.set(title="Deadlines met, by class", ylabel="share", ylim=(0, 1.02))
    axes.grid(alpha=0.3, axis="y")


def _devices(axes: "Axes", result: Result) -> None:
    """Busy devices by stage over time, and how many are held."""
    timeline = result.timeline
    count = len(timeline.busy[0][1])
    moments = [(index + 0.5) * timeline.width_s for index in range(count)]
    axes.stackplot(
        moments,
        [list(values) for _, values in timeline.busy],
        labels=[str(stage) for stage, _ in timeline.busy],
        colors=_COLOURS[: len(timeline.busy)],
    )
    edges = [moment for moment, _ in timeline.resident] + [result.ended_s]
    held = [sum(devices for _, devices in stages) for _, stages in timeline.resident]
    axes.stairs(held, edges, color="black", linewidth=1, label="up", baseline=None)
    axes.set(title="Devices by stage", xlabel="seconds", ylabel="devices")
    axes.legend(loc="upper right", fontsize="small")


def _shares(axes: "Axes", by_label: dict[str, Result]) -> None:
    """Device-hours by stage, overhead and idle, one bar a policy."""
    bottoms = [0.0] * len(by_label)
    found = [figures(result).device_seconds for result in by_label.values()]
    for name, colour in zip(
        ("encode", "diffuse", "decode", "overhead", "idle"), _COLOURS, strict=True
    ):
        hours = [one[name] / 3600 for one in found]
        axes.bar(list(by_label), hours, bottom=bottoms, label=name, color=colour)
        bottoms = [low + more for low, more in zip(bottoms, hours, strict=True)]
    axes.set(title="Device-hours", ylabel="hours")
    axes.tick_params(axis="x", labelsize="small", rotation=15)
    axes.legend(fontsize="small")


def curve(found: Sequence[Forecast], path: Path) -> None:
    """Draw deadlines met and latency by number of GPUs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = [(one.gpus, one.figures) for one in found if one.figures is not None]
    gpus = [count for count, _ in known]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(gpus, [one.attainment for _, one in known], marker="o", label="all")
    left.plot(gpus, [one.worst_attainment for _, one in known], marker="o", label="worst class")
    left.set(title="Deadlines met", xlabel="GPUs", ylabel="share", ylim=(0, 1.02))
    right.plot(gpus, [one.latency.mean for _, one in known], marker="o", label="mean")
    right.plot(gpus, [one.latency.p95 for _, one in known], marker="o", label="P95")
    right.set(title="Latency", xlabel="GPUs", ylabel="seconds", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)
