"""Course: figures along a line of steps or of layers."""

from __future__ import annotations

from reports.figures.drawing import ACCENT, INK, MUTED, frame, number, numbers, svg, zero
from reports.record import Record


def trajectory(record: Record) -> str | None:
    """Return an emotion's read-out over the steps of a session with the band of random directions."""
    found = (record.details or {}).get("trajectory")
    if not found or record.case != "rising":
        return None
    drawing, axis = frame(5, 3)
    zero(axis, y=True)
    name = next(key for key in found[0] if key not in ("step", "phase") and not key.startswith("random"))
    xs = [row["step"] for row in found]
    low, high = (numbers([row[f"random, {p} percentile"] for row in found]) for p in ("5th", "95th"))
    axis.fill_between(xs, low, high, color=MUTED, alpha=0.3, linewidth=0)
    axis.plot(xs, numbers([row[name] for row in found]), "o-", color=ACCENT, linewidth=1.4)
    axis.set_xticks(xs, labels=[row["phase"] for row in found], rotation=30, ha="right")
    axis.set_ylabel(f"{name}, less other work")
    return svg(drawing)


MEASURES = (("auroc", "AUROC"), ("hedges_g", "Hedges' g"), ("cosine", "cosine"))


def layers(record: Record) -> str | None:
    """Return what was measured at every layer, with the judged one marked."""
    found = (record.details or {}).get("layers") or []
    shown = [(key, label) for key, label in MEASURES if found and key in found[0]]
    if not shown:
        return None
    judged = (record.details or {}).get("judged layer")
    drawing, axes = frame(4.8, 0.5 + 1.7 * len(shown), len(shown), 1, sharex=True)
    for axis, (key, label) in zip([axes] if len(shown) == 1 else axes.flat, shown, strict=True):
        axis.plot([row["layer"] for row in found], numbers([row[key] for row in found]), "o-", color=ACCENT, linewidth=1.4, markersize=4)
        if judged is not None:
            axis.axvline(number(judged), color=INK, linewidth=0.8, linestyle=":")
        axis.set_ylabel(label)
        if key == "auroc":
            axis.set_ylim(min([0.45, *(row[key] - 0.05 for row in found if row[key] is not None)]), 1.03)
        axis.xaxis.get_major_locator().set_params(integer=True)
    drawing.supxlabel("layer" if judged is None else f"layer (dotted: {judged}, where claims are judged)", fontsize=8.5)
    return svg(drawing)
