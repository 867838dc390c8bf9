"""Bars: one row per emotion, arm or direction, each with what luck or random directions reach."""

from __future__ import annotations

from reports.figures.drawing import ACCENT, INK, MUTED, frame, known, number, numbers, svg, zero
from reports.record import Record, Run


def lifts(record: Record) -> str | None:
    """Return by how much each emotion's vector raises its own word, over the band of random directions."""
    rows = [(str(item["id"]), number(item["lift"])) for item in record.items if "lift" in item]
    if not any(known(lift) for _, lift in rows):
        return None
    bands = (record.details or {}).get("random band") or [[None, None]] * len(rows)
    found = sorted(zip(rows, bands, strict=True), key=lambda row: row[0][1] if known(row[0][1]) else float("-inf"))
    drawing, axis = frame(4.8, 0.7 + 0.155 * len(found))
    zero(axis, x=True)
    for place, ((_, lift), band) in enumerate(found):
        low, high = numbers(band)
        if known(low, high):
            axis.barh(place, high - low, left=low, height=0.85, color=MUTED, alpha=0.35, linewidth=0)
        if known(lift):
            axis.plot([0, lift], [place, place], color=ACCENT, linewidth=1.2)
            axis.plot(lift, place, "o", color=ACCENT, markersize=4)
    axis.set_yticks(range(len(found)), labels=[name for (name, _), _ in found], fontsize=7.5)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.7, len(found) - 0.3)
    axis.set_xlabel("lift of the emotion's own word, nats (grey: 90% of random directions)")
    return svg(drawing)


def rates(record: Record) -> str | None:
    """Return the rate of the sampled deed in every arm with its Wilson interval; dotted, the rate without steering."""
    found = (record.details or {}).get("rates")
    if not found:
        return None
    drawing, axis = frame(4.8, 0.8 + 0.24 * len(found))
    rows = found[::-1]
    for place, row in enumerate(rows):
        rate, low, high = number(row["rate"]), number(row["low"]), number(row["high"])
        colour = INK if row["arm"] == "none" else MUTED if row["arm"] == "random" else ACCENT
        if known(low, high):
            axis.plot([low, high], [place, place], color=colour, linewidth=1.4)
        if known(rate):
            axis.plot(rate, place, "o", color=colour, markersize=5)
    base = next((number(row["rate"]) for row in found if row["arm"] == "none"), float("nan"))
    if known(base):
        axis.axvline(base, color=INK, linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(rows)), labels=[f"{row['arm']} ({row['misdeeds']}/{row['readable']})" for row in rows])
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel("rate with its 95% Wilson interval (dotted: no steering)")
    return svg(drawing)


def risk(run: Run) -> str | None:
    """Return the slopes of harm under every direction, family by family, beside the 95th percentile of random directions."""
    families = {r.family: (r.details or {})["risk"] for r in run.records if (r.details or {}).get("risk")}
    found = {name: row for name, row in families.items() if row.get("slopes")}
    if not found:
        return None
    sizes = [len(row["slopes"]) for row in found.values()]
    drawing, axes = frame(4.8, sum(0.5 + 0.19 * n for n in sizes) + 0.3, len(found), 1, sharex=True, height_ratios=[n + 1.5 for n in sizes])
    for axis, (name, row) in zip([axes] if len(found) == 1 else axes.flat, found.items(), strict=True):
        ordered = sorted(row["slopes"].items(), key=lambda slope: number(slope[1]))
        zero(axis, x=True)
        for place, (_, slope) in enumerate(ordered):
            if known(number(slope)):
                axis.plot([0, slope], [place, place], color=ACCENT if slope > 0 else INK, linewidth=2.2, solid_capstyle="butt")
        if known(number(row.get("random"))):
            axis.axvline(number(row["random"]), color=MUTED, linewidth=1, linestyle=":")
        axis.set_yticks(range(len(ordered)), labels=[direction for direction, _ in ordered], fontsize=7.5)
        axis.tick_params(axis="y", length=0)
        axis.set_title(name.replace("_", " "), loc="left")
    drawing.supxlabel("nats of log-odds of harm per unit of strength", fontsize=8.5)
    return svg(drawing)
