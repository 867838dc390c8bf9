"""Dose and response: an effect against the strength of steering, beside the share of text that stays coherent."""

from __future__ import annotations

from reports.figures.drawing import ACCENT, INK, MUTED, OTHER, frame, known, labelled_ends, number, svg, zero
from reports.record import Record


def dose_response(record: Record) -> str | None:
    """Return the effect of every direction against strength, filled where the text is coherent, beside the share of coherent text."""
    found = (record.details or {}).get("windows")
    if not found:
        return None
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    drawing, axes = frame(2.9 * columns + (columns == 1), 0.6 + 2.1 * rows, rows, columns, sharex=True)
    panels = [axes] if columns * rows == 1 else list(axes.flat)
    for axis in panels[len(found) :]:
        axis.set_axis_off()
    for axis, window in zip(panels, found, strict=False):
        # what could not be measured leaves a gap
        points = [p for p in window["points"] if p["effect"] is not None and p["inside band"] is not None]
        xs, ys = [p["strength"] for p in points], [p["effect"] for p in points]
        zero(axis, x=True, y=True)
        axis.plot([*xs], [*ys], color=INK, linewidth=1.2)
        for point in points:
            kept = point["coherent"] and point["beyond random"]
            face = ACCENT if kept else INK if point["coherent"] else "white"
            axis.plot(point["strength"], point["effect"], "o", color=face, markeredgecolor=ACCENT if kept else INK, markersize=5)
        other = axis.twinx()
        other.fill_between(xs, [p["inside band"] for p in points], color=MUTED, alpha=0.2, linewidth=0)
        other.set_ylim(0, 1)
        other.set_yticks([])
        axis.set_title(f"{window['direction']}: window {number(window['width']):.2f}")
    drawing.supxlabel("strength, median residual norms", fontsize=8.5)
    drawing.supylabel("effect on its read-out, nats of log-odds", fontsize=8.5)
    return svg(drawing)


def conditions(record: Record) -> str | None:
    """Return the shift of an act's log-odds, net of its control, under every direction and strength, with the band of random directions."""
    found = (record.details or {}).get("conditions")
    if not found:
        return None
    drawing, axis = frame(5.2, 3.4)
    zero(axis, x=True, y=True)
    own = [row for row in found if "act" in row]
    band = {row["direction"]: row for row in found if "act" not in row}
    ends = []
    names = list(dict.fromkeys(row["direction"] for row in own))
    for k, name in enumerate(names):
        rows = sorted((row for row in own if row["direction"] == name), key=lambda row: row["strength"])
        xs, ys = [number(row["strength"]) for row in rows], [number(row["net"]) for row in rows]
        colour = (ACCENT, OTHER, INK, MUTED)[k % 4]
        axis.plot(xs, ys, "-", color=colour, linewidth=1.2)
        for x, y, row in zip(xs, ys, rows, strict=True):
            axis.plot(x, y, "o", color=colour if number(row.get("coherent")) >= COHERENT else "white", markeredgecolor=colour, markersize=4)
        ends.append((xs[-1], ys[-1], name, colour))
    low, high = (band.get(f"random, {p} percentile") for p in ("5th", "95th"))
    if low and high and known(number(low["net"]), number(high["net"])):
        at = number(high["strength"])
        axis.plot([at, at], [number(low["net"]), number(high["net"])], color=MUTED, alpha=0.4, linewidth=9, solid_capstyle="butt")
    labelled_ends(axis, ends)
    axis.margins(x=0.08)
    axis.set_xlabel("strength, median residual norms")
    axis.set_ylabel("shift of the log-odds, net of control, nats")
    return svg(drawing)


COHERENT = 0.75
"""Share of neutral passages inside the band from which a condition is drawn filled, as steering is judged."""


def costs(record: Record) -> str | None:
    """Return what steering costs neutral text against strength, a line per direction."""
    found = (record.details or {}).get("costs")
    if not found:
        return None
    drawing, axis = frame(5.2, 3.2)
    zero(axis, x=True, y=True)
    rows = sorted(found, key=lambda row: row["strength"])
    names = [name for name in rows[0] if name != "strength"]
    ends = []
    for name in names:
        colour = MUTED if name == "random" else INK
        # random directions are measured at some strengths only, and joined over the others
        kept = [(row["strength"], number(row.get(name))) for row in rows if row.get(name) is not None]
        if kept:
            axis.plot(*zip(*kept, strict=True), "o-", color=colour, linewidth=1, markersize=3, linestyle="--" if name == "random" else "-")
            ends.append((*kept[-1], name, colour))
    labelled_ends(axis, ends)
    axis.set_xlabel("strength, median residual norms")
    axis.set_ylabel("further nats per token")
    return svg(drawing)
