"""The loss on planes through the weights of a run, with the path that its training took."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from forgetting import plots, tables
from forgetting.figures import _contours, _frame, _handoff_rows, _ladders, _method_rows, _panels
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.handoff import Plane, PlaneAtRandom, PlaneThroughTasks

RANGE = 1e6  # largest loss over the smallest that has a colour of its own
LEVELS = 13
CORNER = 1e-6  # checkpoints nearer to the plane, as a share, define it
MARKERS = {0: "*", 1: "o", 2: "s"}
PATH_COLUMNS = ("path_task", "path_epoch")
STATISTICS = ("loss", "path", "path_loss")
NO_PATH = "The path of training is not measured."


@dataclass(frozen=True)
class _Plane:
    """The rows of one plane, of one seed."""

    rows: pd.DataFrame
    """The statistics drawn."""
    runs: pd.DataFrame
    origin: str
    """The origin in words."""
    seed: int
    axes: tuple[str, str]
    """What stands along the directions."""

    @property
    def path(self) -> pd.DataFrame:
        """Checkpoints in the order of training: x, y, off the plane, own loss by task.

        ``path`` and then a column ``loss <task>`` for each task whose loss is taken.
        """
        found = self.rows[self.rows["statistic"] != "loss"]
        keys = ["path_task", "path_epoch", "x", "y"]
        of = found["of_task"].astype(int).astype(str)
        names = found["statistic"].where(found["statistic"] == "path", "loss " + of)
        wide = found.assign(name=names).drop_duplicates([*keys[:2], "name"])
        wide = wide.pivot(index=keys, columns="name", values="value").reset_index()
        after = wide["path_epoch"].where(wide["path_epoch"] > 0, np.inf)
        return wide.assign(after=after).sort_values(["path_task", "after"], ignore_index=True)


@_panels.drawing
def plane_through_tasks(given: Tables, settings: "PlaneThroughTasks") -> Drawn:
    """A panel per task: its loss on the plane through three weights, with the path."""
    plane = _chosen(given, settings, "checkpoint")
    names = _handoff_rows.task_names(plane.runs)
    tasks = sorted(int(task) for task in plane.rows["of_task"].unique())
    figure, axes = _frame.panels(1, len(tasks), height=3.0, sharex=True, sharey=True)
    _losses(figure, list(axes[0]), plane, tasks, names)
    between = plane.path
    between = between[between["path"] > CORNER] if len(between) else between
    off = NO_PATH
    if len(between):
        low, high = (f"{100 * share:.0f}" for share in (between.path.min(), between.path.max()))
        off = f"Other weights lie off the plane, by {low} to {high} % of their distance from 0."
    _finish(figure, plane, "The loss on the plane through the weights of both tasks", [off])
    return figure, plane.rows


@_panels.drawing
def plane_at_random(given: Tables, settings: "PlaneAtRandom") -> Drawn:
    """A panel per task: its loss along two random directions; then the path, enlarged."""
    plane = _chosen(given, settings, "random")
    names = _handoff_rows.task_names(plane.runs)
    tasks = sorted(int(task) for task in plane.rows["of_task"].unique())
    path = plane.path
    figure, (axes,) = _frame.panels(1, len(tasks) + bool(len(path)), height=2.05)
    norm = _losses(figure, list(axes), plane, tasks, names)
    off = NO_PATH
    if len(path):
        _enlarged(axes[-1], plane, tasks[0], norm)
        away = path[path["path"] > CORNER]
        kept = 100 * np.sqrt(np.clip(1 - away["path"] ** 2, 0, 1)).max()
        off = f"Of the way from 0 to any other weights the plane shows at most {kept:.2g} %."
    _finish(figure, plane, "The loss along two random directions", [off])
    return figure, plane.rows


def _chosen(given: Tables, settings: "Plane", kind: str) -> _Plane:
    """The rows of the plane that is asked for; Nothing where there is none."""
    name, wanted = settings.benchmark, [settings.strategy]
    runs = _method_rows.of_benchmark(given, "runs", name, wanted)
    rows = _method_rows.of_benchmark(given, "landscape", name, wanted)
    both = [rows[axis].fillna("").str.startswith(kind) for axis in ("direction_x", "direction_y")]
    rows = rows[both[0] & both[1] & rows["statistic"].isin(STATISTICS)].dropna(subset=["value"])
    if kind == "checkpoint":
        what = "plane through three checkpoints"
    else:
        what = "plane along random directions"
    rows = _panels.some(rows, f"landscape.csv has no {what} on {name}")
    for column in ("task", "moment", "seed"):
        options = sorted(rows[column].unique(), reverse=column == "moment")  # init, then end
        asked = getattr(settings, column)
        value = options[0] if asked is None else asked
        rows = _panels.some(
            rows[rows[column] == value], f"landscape.csv has no {what} with {column} {value}"
        )
    task, moment = int(rows["task"].iloc[0]), str(rows["moment"].iloc[0])
    columns = [*tables.GROUP, "seed", "task", "moment", "split", "of_task", "samples"]
    columns += ["direction_x", "direction_y", "x", "y", *PATH_COLUMNS, "statistic", "value"]
    rows = rows.reindex(columns=columns).reset_index(drop=True)
    first, second = (str(rows[axis].iloc[0]) for axis in ("direction_x", "direction_y"))
    return _Plane(
        rows,
        runs,
        weights_after(task - (moment == "init")),
        int(rows["seed"].iloc[0]),
        (_axis(first, 1), _axis(second, 2)),
    )


def weights_after(task: int) -> str:
    """The weights after a task, in words."""
    letter = _handoff_rows.LETTERS.get(task, f"task {task}")
    return f"after {letter}" if task else "before training"


def _axis(direction: str, number: int) -> str:
    """What stands along a direction: 1 is where it leads to, or the length of the weights."""
    kind, _, checkpoint = direction.partition(" ")
    if kind != "checkpoint":
        return f"random direction {number}"
    end = checkpoint.removeprefix("task-")
    return f"towards the weights {weights_after(int(end)) if end.isdigit() else checkpoint}"


def _losses(
    figure: Figure, axes: list[Axes], plane: _Plane, tasks: list[int], names: dict[int, str]
) -> LogNorm:
    """Each task's loss over the plane on one scale, with the path.

    The scale stands beside all of the axes, of which the first are drawn on.
    """
    grid, path = plane.rows[plane.rows["statistic"] == "loss"], plane.path
    scale = _contours.Scale.of(grid["value"], LEVELS, least=float(grid["value"].max()) / RANGE)
    for ax, task in zip(axes, tasks, strict=False):
        _contours.plane(ax, grid[grid["of_task"] == task], scale, line=0.3, ticks=5)
        if len(path):
            _path(ax, path, task, scale.norm)
        ax.set_xlim(grid["x"].min(), grid["x"].max())
        ax.set_ylim(grid["y"].min(), grid["y"].max())
        ax.set_title(f"loss of {names[task]}", loc="left")
        ax.set_xlabel(plane.axes[0])
    axes[0].set_ylabel(plane.axes[1])
    _contours.beside(figure, axes, scale, "loss in nats", aspect=20)
    return scale.norm


def _enlarged(ax: Axes, plane: _Plane, task: int, norm: LogNorm) -> None:
    """The path alone, in a power of ten that its coordinates fill."""
    path = plane.path
    reach = float(path[["x", "y"]].abs().max().max())
    power = int(np.floor(np.log10(reach))) if reach > 0 else 0
    unit = (
        f" (\N{MULTIPLICATION SIGN}10{str(power).translate(_ladders.SUPERSCRIPTS)})"
        if power
        else ""
    )
    _path(ax, path.assign(x=path["x"] / 10.0**power, y=path["y"] / 10.0**power), task, norm)
    ax.set_title(f"path enlarged, loss of {_handoff_rows.LETTERS[task]}", loc="left")
    ax.set_xlabel(plane.axes[0] + unit)
    ax.set_ylabel(plane.axes[1] + unit)
    ax.set_facecolor("#D9D9D9")  # the path's line is white
    ax.set_box_aspect(1)
    ax.margins(0.12)


def _path(ax: Axes, path: pd.DataFrame, task: int, norm: LogNorm) -> None:
    """The path's line, and its checkpoints filled by their own loss on a task."""
    edge = [patheffects.withStroke(linewidth=2.2, foreground="black")]
    ax.plot(path["x"], path["y"], color="white", lw=1.0, zorder=3, path_effects=edge)
    ends = path["path_epoch"] == 0
    for number, marker in MARKERS.items():
        for mine, size in ((~ends, 14), (ends, 42 if number else 90)):
            some = path[mine & (path["path_task"] == number)]
            colours = some[f"loss {task}"].clip(norm.vmin, norm.vmax)
            style: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.8, "zorder": 4}
            style |= {"norm": norm, "cmap": _contours.COLOURS, "marker": marker, "s": size}
            shown = ax.scatter(some["x"], some["y"], c=colours, **style)
            shown.set_path_effects([patheffects.withStroke(linewidth=1.8, foreground="black")])


def _finish(figure: Figure, plane: _Plane, title: str, notes: list[str]) -> None:
    rows, path = plane.rows, plane.path
    runs = plane.runs[plane.runs["seed"] == plane.seed]
    images = {"train": "images trained on", "held_out": "test images"}[rows["split"].iloc[0]]
    grid = rows[rows["statistic"] == "loss"]
    beyond = [
        (path[axis] < grid[axis].min()) | (path[axis] > grid[axis].max()) for axis in ("x", "y")
    ]
    outside = int((beyond[0] | beyond[1]).sum())
    _panels.finish(
        figure,
        runs,
        title,
        benchmark=str(rows["benchmark"].iloc[0]),
        what=f"{plots.look(str(rows['strategy'].iloc[0])).label}  ·  seed {plane.seed}",
        notes=[
            f"One seed: planes of different networks cannot be averaged. 0: the weights "
            f"{plane.origin}. Mean over {rows['samples'].iloc[0]:.0f} {images} of each task.",
            *notes,
            *(
                ["Points of the path are filled by their own loss, not the plane's."]
                * bool(len(path))
            ),
            *([f"{outside} of {len(path)} checkpoints lie outside."] if outside else []),
        ],
        key=_key() if len(path) else [],
    )


def _key() -> list[Line2D]:
    """What the markers of the path are."""
    look: dict[str, Any] = {"color": plots.GREY, "markeredgecolor": "black", "linestyle": "none"}
    labels = {
        "before training": (0, 8.5),
        "while A is learned": (1, 4),
        "after A": (1, 6.5),
        "while B is learned": (2, 4),
        "after B": (2, 6.5),
    }
    return [
        Line2D([], [], label=label, marker=MARKERS[number], markersize=size, **look)
        for label, (number, size) in labels.items()
    ]
