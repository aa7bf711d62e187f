"""The plots: one figure for each question, with a part for each panel."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from contenders import NAMESAKE
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from results import Record, Results, X, show

COLOURS = {
    "fast_map": "#d62728",
    "map": "#000000",
    "Pool.imap": "#1f77b4",
    "Pool.imap_unordered": "#17becf",
    "ProcessPoolExecutor": "#2ca02c",
    "ThreadPoolExecutor": "#ff7f0e",
    "joblib": "#9467bd",
    "mpire": "#8c564b",
    "pebble": "#e377c2",
    NAMESAKE: "#7f7f7f",
}
MORE_COLOURS = ["#393b79", "#bcbd22", "#637939", "#ad494a", "#a55194", "#8c6d31"]
MARKERS = "os^vD<>pXP*hd8"
WIDTH = 10.0
AXIS_LABELS = {
    "s": "time (s)",
    "ms": "time (ms)",
    "us": "time (us)",
    "MiB": "memory (MiB)",
    "GB/s": "rate (GB/s)",
    "ns per item": "time per item (ns)",
}


def choose_styles(results: Results) -> dict[str, dict[str, Any]]:
    """A contender has the same colour in every plot; the ideal and the like are dashed."""
    styles: dict[str, dict[str, Any]] = {}
    more = iter(MORE_COLOURS * 3)
    labels = dict.fromkeys(record.label for record in results)
    for number, label in enumerate(labels):
        colour = COLOURS.get(label) or next(more)
        styles[label] = {"color": colour, "marker": MARKERS[number % len(MARKERS)]}
        if label.startswith("ideal"):
            dashes = "--" if label == "ideal" else ":"
            styles[label] = {"color": "#555555", "linestyle": dashes, "marker": ""}
        if label == "fast_map":
            styles[label] |= {"linewidth": 2.5, "zorder": 3}
    return styles


def scale_logarithmically(axes: Axes, direction: str) -> None:
    """With plain numbers, not powers of ten; and more of them where there are few decades."""
    axes.set(**{f"{direction}scale": "log"})
    low, high = getattr(axes, f"get_{direction}lim")()
    axis = getattr(axes, f"{direction}axis")
    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def value_of(results: Results, record: Record, reference: str | None) -> float | None:
    """What is drawn: the median, or how many times faster than the reference it is."""
    if reference is None or record.median is None:
        return record.median
    other = results.median(record.panel, record.x, reference)
    return other / record.median if other else None


def draw_lines(axes: Axes, panel: str, results: Results, plot: dict[str, Any], styles: Any) -> None:
    for label in results.labels(panel):
        points = []
        for record in results:
            value = value_of(results, record, plot["speedup_over"])
            if (record.panel, record.label) == (panel, label) and value is not None:
                points.append((record.x, value))
        if points:
            axes.plot(*zip(*points, strict=True), label=label, markersize=4, **styles[label])
    unit = next(record.unit for record in results if record.panel == panel)
    speedup = plot["speedup_over"]
    axes.set_ylabel(f"times as fast as {speedup}" if speedup else AXIS_LABELS[unit])
    axes.set_xlabel(plot["x"])
    if plot["log_x"]:
        scale_logarithmically(axes, "x")
        if len(results.xs(panel)) <= 8:
            axes.set_xticks(results.xs(panel))
            axes.minorticks_off()
        axes.tick_params(axis="x", labelrotation=35)
    if plot["log_y"]:
        scale_logarithmically(axes, "y")


def draw_dots(axes: Axes, rows: list[tuple[str, X]], results: Results, styles: Any) -> None:
    """One row for each kind of input, one mark for each contender."""
    for label in dict.fromkeys(record.label for record in results):
        found = [
            (record.median, rows.index((record.panel, record.x)))
            for record in results
            if record.label == label and record.median is not None
        ]
        if found:
            style = {key: value for key, value in styles[label].items() if key != "linewidth"}
            axes.plot(*zip(*found, strict=True), label=label, **{**style, "linestyle": ""})
    axes.set_yticks(range(len(rows)), [f"{panel}: {x}" for panel, x in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(AXIS_LABELS[next(record.unit for record in results)])
    scale_logarithmically(axes, "x")


def draw_bars(axes: Axes, panel: str, results: Results, plot: dict[str, Any], styles: Any) -> None:
    """One bar for each contender, with its figure, or why there is none."""
    records = [record for record in results if record.panel == panel]
    values = [record.median or 0 for record in records]
    colours = [styles[record.label]["color"] for record in records]
    axes.barh(range(len(records)), values, color=colours)
    least = min((value for value in values if value > 0), default=1)
    start = least / 2 if plot["log_x"] else 0
    for row, (record, value) in enumerate(zip(records, values, strict=True)):
        text = show(value) if record.median is not None else record.failure or "not measured"
        axes.text(value or start, row, f" {text}", va="center", fontsize=8)
    if plot["log_x"]:
        axes.set_xlim(start, max([*values, least]) * 8)
        scale_logarithmically(axes, "x")
    else:
        axes.set_xlim(0, max([*values, least]) * 1.25)
    axes.set_yticks(range(len(records)), [record.label for record in records])
    axes.invert_yaxis()
    axes.set_xlabel(AXIS_LABELS[records[0].unit])


def draw_legend(figure: Figure, parts: list[Axes]) -> None:
    """Below all parts, each contender once."""
    handles: dict[str, Artist] = {}
    for axes in parts:
        found, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)


def draw(facts: dict[str, Any], results: Results, path: Path) -> None:
    plot, styles, panels = facts["plot"], choose_styles(results), results.panels()
    kind = plot["kind"]
    rows = list(dict.fromkeys((record.panel, record.x) for record in results))
    columns = 1 if kind == "dots" else min(len(panels), 2)
    lines = 1 if kind == "dots" else -(-len(panels) // columns)
    height = 1.5 + 0.45 * len(rows) if kind == "dots" else (1.5 if lines > 1 else 2.5) + 3.5 * lines
    figure, grid = plt.subplots(
        lines, columns, figsize=(WIDTH, height), squeeze=False, layout="constrained"
    )
    figure.suptitle(facts["title"])
    parts = list(grid.flat)
    for axes in parts:
        axes.grid(True, alpha=0.3, axis="y" if kind == "lines" else "x")
        axes.set_axisbelow(True)
    if kind == "dots":
        draw_dots(parts[0], rows, results, styles)
    else:
        for axes, panel in zip(parts, panels, strict=False):
            axes.set_title(panel, fontsize=10)
            (draw_lines if kind == "lines" else draw_bars)(axes, panel, results, plot, styles)
        for axes in parts[len(panels) :]:
            axes.set_visible(False)
    if kind != "bars":
        draw_legend(figure, parts)
    figure.savefig(path, dpi=110)
    plt.close(figure)
