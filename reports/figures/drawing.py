"""Drawing: what all figures share, their colours, the frame that they are drawn in, and SVG that is the same for the same data."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

Subject = TypeVar("Subject")

INK, ACCENT, OTHER, MUTED, PAPER = "#333333", "#b2182b", "#2166ac", "#6b6b6b", "#ffffff"
"""Colours of a figure on white paper; a page replaces each of them by its own for the theme that it is read in."""


def number(value: Any) -> float:
    """Return a figure of a record as a float; what was not measured is NaN, which leaves a gap."""
    return float("nan") if value is None else float(value)


def numbers(values: Sequence[Any]) -> list[float]:
    """Return figures of a record as floats."""
    return [number(value) for value in values]


def known(*values: float) -> bool:
    """Return whether all are finite."""
    return all(math.isfinite(value) for value in values)


@contextmanager
def style() -> Iterator[None]:
    """Draw in the figures' own style: small type, no box, names taken as they are and never for formulas."""
    import matplotlib as mpl

    kept: dict[Any, Any] = {
        "svg.hashsalt": "referee",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.labelsize": 8.5,
        "axes.titlesize": 9,
        "axes.titlecolor": INK,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.unicode_minus": True,
        "figure.facecolor": "none",
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "font.size": 8,
    }
    with mpl.rc_context(kept), warnings.catch_warnings():
        # a name in a script that matplotlib has no font for is measured badly and shown well: words stay words
        warnings.simplefilter("ignore", UserWarning)
        yield


def styled(draw: Callable[[Subject], str | None]) -> Callable[[Subject], str | None]:
    """Return a drawing that is made in the figures' own style."""

    def drawn(subject: Subject) -> str | None:
        with style():
            return draw(subject)

    return drawn


def frame(width: float, height: float, rows: int = 1, columns: int = 1, **shared: Any) -> tuple[Any, Any]:
    """Return an empty figure of a size in inches and its axes: one, or an array of rows and columns."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    return drawing, drawing.subplots(rows, columns, squeeze=rows * columns == 1, **shared)


def svg(drawing: Any) -> str:
    """Return a drawing as SVG that is the same for the same data: no date, ids from a fixed salt, words as words."""
    target = io.StringIO()
    drawing.savefig(target, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return target.getvalue()


def zero(axis: Any, *, x: bool = False, y: bool = False) -> None:
    """Mark 0 on one axis or on both."""
    if x:
        axis.axvline(0, color=MUTED, linewidth=0.6)
    if y:
        axis.axhline(0, color=MUTED, linewidth=0.6)


def labelled_ends(axis: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a name at the right end of each line, (x, y, name, colour) each, moved apart where they would overlap."""
    placed = sorted((end for end in ends if known(end[0], end[1])), key=lambda end: end[1])
    if not placed:
        return
    low, high = axis.get_ylim()
    gap, last = (high - low) / 18, -math.inf
    for x, y, name, colour in placed:
        last = max(y, last + gap)
        axis.annotate(name, (x, last), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8, color=colour)


def named_points(axis: Any, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Draw points, (x, y, name, colour) each, with their names to the right, moved up where they would cover one another."""
    found = sorted((point for point in points if known(point[0], point[1])), key=lambda point: (point[1], point[0]))
    if not found:
        return
    for x, y, _, colour in found:
        axis.plot(x, y, "o", color=colour, markersize=4)
    axis.margins(0.14)
    wide, high = (max(high - low, 1e-9) for low, high in (axis.get_xlim(), axis.get_ylim()))
    placed: list[tuple[float, float, float]] = []
    for x, y, name, colour in found:
        length, at = wide * (0.016 * len(name) + 0.02), y
        while any(abs(at - v) < high * 0.0295 and x < u + taken and u < x + length for u, v, taken in placed):
            at += high * 0.006
        placed.append((x, at, length))
        axis.annotate(name, (x, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5, color=colour)
