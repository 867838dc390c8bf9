"""Figures of a run, as SVG: drawn from the details of its records alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from reports.record import Record, Run

INK, ACCENT, MUTED = "#333333", "#b2182b", "#8a8a8a"


def dose_response(record: Record) -> str | None:
    """Return the effect of every direction against strength, filled where the text is coherent, beside the share of coherent text."""
    found = (record.details or {}).get("windows")
    if not found:
        return None
    from matplotlib.figure import Figure

    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    drawing = Figure(figsize=(3.3 * columns, 0.5 + 2.6 * rows), layout="constrained")
    axes = drawing.subplots(rows, columns, squeeze=False, sharex=True)
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    for axis, window in zip(axes.flat, found, strict=False):
        # what could not be measured leaves a gap
        points = [p for p in window["points"] if p["effect"] is not None and p["inside band"] is not None]
        xs, ys = [p["strength"] for p in points], [p["effect"] for p in points]
        axis.axhline(0, color=MUTED, linewidth=0.6)
        axis.axvline(0, color=MUTED, linewidth=0.6)
        axis.plot([*xs], [*ys], color=INK, linewidth=1.2)
        for point in points:
            kept = point["coherent"] and point["beyond random"]
            face = ACCENT if kept else INK if point["coherent"] else "white"
            axis.plot(point["strength"], point["effect"], "o", color=face, markeredgecolor=ACCENT if kept else INK, markersize=5)
        other = axis.twinx()
        other.fill_between(xs, [p["inside band"] for p in points], color=MUTED, alpha=0.2, linewidth=0)
        other.set_ylim(0, 1)
        other.set_yticks([0, 1], labels=["0", "1"], color=MUTED, fontsize=7)
        axis.set_title(f"{window['direction']}: window {window['width']:.2f}", fontsize=9, color=INK, parse_math=False)
        axis.tick_params(labelsize=7)
    drawing.supxlabel("strength, median residual norms", fontsize=8)
    drawing.supylabel("effect on its read-out, nats of log-odds", fontsize=8)
    drawing.suptitle("red: coherent and beyond random; black: coherent; white: not coherent; grey: share of coherent texts", fontsize=8)
    return svg(drawing)


def trajectory(record: Record) -> str | None:
    """Return an emotion's read-out over the steps of a session with the band of random directions."""
    found = (record.details or {}).get("trajectory")
    if not found or record.case != "rising":
        return None
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5, 3), layout="constrained")
    axis = drawing.subplots()
    name = next(key for key in found[0] if key not in ("step", "phase") and not key.startswith("random"))
    xs = [row["step"] for row in found]
    low, high = ([row[f"random, {p} percentile"] for row in found] for p in ("5th", "95th"))
    axis.fill_between(xs, low, high, color=MUTED, alpha=0.3, linewidth=0)
    axis.plot(xs, [row[name] for row in found], "o-", color=ACCENT, linewidth=1.4)
    axis.set_xticks(xs, labels=[row["phase"] for row in found], rotation=30, ha="right", fontsize=7)
    axis.set_ylabel(f"{name}, less other work", fontsize=8)
    axis.tick_params(axis="y", labelsize=7)
    return svg(drawing)


def svg(drawing: Any) -> str:
    """Return a drawing as SVG that is the same for the same data: no date, ids from a fixed salt."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "referee", "svg.fonttype": "none"}):
        target = io.StringIO()
        drawing.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return target.getvalue()


DRAWN: dict[str, Callable[[Record], str | None]] = {"dose_response": dose_response, "trajectory": trajectory}
"""The figure of each family that has one."""


def figures(run: Run) -> dict[str, str]:
    """Return the SVG of every record that has a figure, by family-case."""
    found = {r.id.replace("/", "-"): DRAWN[r.family](r) for r in run.records if r.family in DRAWN}
    return {name: drawn for name, drawn in found.items() if drawn}
