"""Figures across models: every family's skill and every across-models quantity against size or quality, as inline SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.figures.drawing import style, svg
from reports.ladder import CHARACTER, SIZE, TOKEN, Line

INK, ACCENT = "#010203", "#c2452d"
"""The ink stands for the page's own text colour, so that a figure reads on dark and on light ground."""

COLUMNS = 4
AXES = {SIZE: "log10 parameters", TOKEN: "nats per token, neutral text", CHARACTER: "nats per character, neutral text"}


def panels(lines: Sequence[Line], title: str) -> str | None:
    """Return a panel for each line: the models with their intervals, and the fitted line where there is a slope; None without points."""
    shown = [line for line in lines if line.points]
    if not shown:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    inked: Any = {f"{part}.color": INK for part in ("text", "xtick", "ytick")} | {"axes.edgecolor": INK, "axes.labelcolor": INK}
    with style(), mpl.rc_context(inked | {"axes.facecolor": "none"}):
        drawing = Figure(figsize=(2.6 * columns, 2.3 * rows), layout="constrained", facecolor="none")
        axes = drawing.subplots(rows, columns, squeeze=False)
        for axis in axes.flat[len(shown) :]:
            axis.set_axis_off()
        for axis, line in zip(axes.flat, shown, strict=False):
            xs, ys = np.array([p.x for p in line.points]), np.array([p.value for p in line.points])
            for p in line.points:
                if p.low is not None and p.high is not None:
                    axis.plot([p.x, p.x], [p.low, p.high], color=INK, linewidth=1)
            axis.plot(xs, ys, "o", color=ACCENT, markersize=5)
            if line.slope.value is not None and line.slope.intercept is not None:
                ends = np.array([xs.min(), xs.max()])
                axis.plot(ends, line.slope.intercept + line.slope.value * ends, color=ACCENT, linewidth=1.2)
            axis.spines[["top", "right"]].set_visible(False)
            axis.margins(x=0.12)
            axis.set_title(line.quantity, fontsize=8, parse_math=False)
            axis.set_xlabel(AXES[line.against], fontsize=7)
            axis.tick_params(labelsize=7)
        text = svg(drawing)
    return inline(text, title)


def inline(text: str, title: str) -> str:
    """Return an SVG as it stands inside a page: no XML prolog, the ink in the page's text colour, a name for screen readers."""
    body = text[text.index("<svg") :].replace(INK, "currentColor")
    return body.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}" style="max-width: 100%; height: auto"', 1)
