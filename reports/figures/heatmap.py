"""Heatmaps: matrices of emotions by emotions, or of contrasts, red above a middle and blue below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.figures.drawing import ACCENT, MUTED, OTHER, frame, svg
from reports.record import Record

LARGEST = 40
"""Rows that can still be read: of more, as many are drawn, evenly spread."""

STEPS = 20


def similar_beside_similar(matrix: np.ndarray) -> list[int]:
    """Return an order of the rows in which similar ones stand together: by the first eigenvector of the symmetric part."""
    both = np.nan_to_num((matrix + matrix.T) / 2)
    _, axes = np.linalg.eigh(both - both.mean(axis=0))
    first = axes[:, -1].round(6)
    return [int(i) for i in np.argsort(first if first[0] <= 0 else -first, kind="stable")]


def heatmap(
    names: Sequence[str], matrix: Any, rows: str, columns: str, *, middle: float = 0.0, ordered: bool = True, counts: bool = False
) -> str | None:
    """Return a square matrix as cells of one colour above `middle` and one below, stronger with distance; gaps where it has none."""
    table = np.array([[np.nan if v is None else v for v in row] for row in matrix], dtype=float) - middle
    if not np.isfinite(table).any() or table.shape != (len(names), len(names)):
        return None
    order = similar_beside_similar(table) if ordered else list(range(len(names)))
    if len(order) > LARGEST:
        order = [order[i] for i in np.linspace(0, len(order) - 1, LARGEST).round().astype(int)]
    table, shown = table[np.ix_(order, order)], [names[i] for i in order]
    off = table if counts else table[~np.eye(len(table), dtype=bool)]
    # the diagonal of a matrix of emotions is its largest entry and tells least: it is cut to what the others reach
    sizes = [float(np.nanmax(np.abs(part))) for part in (off, table) if np.isfinite(part).any()]
    reach = next((size for size in sizes if size > 0), 1.0)
    side = max(3.4, 1.2 + 0.135 * len(shown))
    drawing, axis = frame(side, side)
    cells(axis, np.clip(table / reach, -1, 1))
    places = np.arange(len(shown)) + 0.5
    axis.set_xticks(places, labels=shown, rotation=90, fontsize=7)
    axis.set_yticks(places, labels=shown, fontsize=7)
    axis.set(xlim=(0, len(shown)), ylim=(len(shown), 0), aspect="equal", xlabel=columns, ylabel=rows)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    few = "" if len(shown) == len(names) else f"; {len(shown)} of {len(names)}"
    scale = f"{reach:g}" if counts else f"{middle + reach:.2f} (red), {middle - reach:.2f} (blue)"
    axis.set_title(f"full colour: {scale}{few}", color=MUTED, fontsize=8)
    return svg(drawing)


def cells(axis: Any, table: np.ndarray) -> None:
    """Draw a matrix of values from -1 to 1, one compound path for each of a few shades, which keeps the page small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    steps = np.full(table.shape, 0)
    steps[np.isfinite(table)] = (table[np.isfinite(table)] * STEPS).round().astype(int)
    for step in np.unique(steps):
        if step == 0:
            continue
        squares = [Path([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)], closed=True) for y, x in np.argwhere(steps == step)]
        path = Path.make_compound_path(*squares)
        axis.add_patch(PathPatch(path, facecolor=ACCENT if step > 0 else OTHER, alpha=abs(int(step)) / STEPS, linewidth=0))


def cosines(record: Record) -> str | None:
    """Return the cosines between all emotion vectors, similar emotions beside one another."""
    d = record.details or {}
    return heatmap(d["emotions"], d["cosines"], "vector", "vector") if d.get("cosines") and d.get("emotions") else None


def effects(record: Record) -> str | None:
    """Return what each emotion's vector does to every emotion's word, in nats."""
    d = record.details or {}
    return heatmap(d["emotions"], d["effects"], "steered with", "effect on the word") if d.get("effects") and d.get("emotions") else None


def contrasts(record: Record) -> str | None:
    """Return which contrast's direction separates which pairs, AUROC above and below one half."""
    found = (record.details or {}).get("contrast matrix")
    return heatmap(found["contrasts"], found["auroc"], "direction of", "pairs of", middle=0.5, ordered=False) if found else None


def confusion(record: Record) -> str | None:
    """Return which emotion was read from scenarios that imply which."""
    d = record.details or {}
    if not d.get("confusion") or not d.get("emotions"):
        return None
    return heatmap(d["emotions"], d["confusion"], "implied", "read", ordered=False, counts=True)
