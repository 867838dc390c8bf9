"""Clusters: the scores of the scenarios, templates or emotions behind a value, and two figures of each direction side by side."""

from __future__ import annotations

from reports.figures.drawing import ACCENT, INK, MUTED, OTHER, frame, known, number, svg
from reports.record import Record

CLOSE = 1e-6
"""By how much the mean of the scores may miss the value that was computed from them."""


def behind(record: Record) -> list[float]:
    """Return the mean score of each cluster, smallest first; none where the value is not their mean, and they are on another scale."""
    grouped: dict[str, list[float]] = {}
    for item in record.items:
        grouped.setdefault(str(item.get("cluster", item["id"])), []).append(number(item.get("score")))
    means = sorted(sum(group) / len(group) for group in grouped.values())
    if not means or not known(*means) or abs(sum(means) / len(means) - number(record.value)) > CLOSE:
        return []
    return means


def scores(record: Record) -> str | None:
    """Return the value with its interval and every null from its mean to its 95th percentile, and above them the clusters' scores."""
    value = number(record.value)
    if not known(value):
        return None
    rows = [(null["kind"], number(null["mean"]), number(null["mean"]), number(null["p95"]), MUTED) for null in record.nulls[::-1]]
    rows.append(("value", value, number(record.low), number(record.high), ACCENT))
    found, top = behind(record), len(rows)
    drawing, axis = frame(4.8, 0.8 + 0.24 * top + (0.45 if found else 0))
    for place, (_, at, low, high, colour) in enumerate(rows):
        if known(low, high):
            axis.plot([low, high], [place, place], color=colour, linewidth=1.6)
        if known(at):
            axis.plot(at, place, "o", color=colour, markersize=5)
    if found:
        # a steady scatter across the row keeps points apart
        heights = [top + ((k * 0.618) % 1) * 0.9 for k in range(len(found))]
        axis.plot(found, heights, "o", color=INK, alpha=0.5, markersize=3.5, markeredgewidth=0)
        axis.axhline(top - 0.45, color=MUTED, linewidth=0.6)
    names = [name for name, *_ in rows]
    axis.set_yticks([*range(top), *([top + 0.45] if found else [])], labels=[*names, *([f"each {record.cluster}"] if found else [])])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, top + (1.3 if found else -0.4))
    axis.set_xlabel(record.quantity)
    return svg(drawing)


def sides_of_strength(record: Record) -> str | None:
    """Return up to how many strengths the text stays coherent under every direction, on its negative and on its positive side."""
    found = (record.details or {}).get("reach") or []
    rows = [(str(row["direction"]), number(row["negative"]), number(row["positive"])) for row in found]
    return _beside(rows, ("negative side", "positive side"), "strengths that leave the text coherent, mean over prompts")


def words(record: Record) -> str | None:
    """Return the shift of every emotion when it is steered and when it is asked for in words."""
    found = (record.details or {}).get("beside words") or []
    rows = [(str(row["emotion"]), number(row["steered"]), number(row["asked in words"])) for row in found]
    return _beside(rows, ("steered", "asked for in words"), "shift of the continuation's read-out")


def _beside(rows: list[tuple[str, float, float]], sides: tuple[str, str], label: str) -> str | None:
    """Return two points to a row, (name, first, second) each, joined by a line."""
    if not any(known(*pair) for _, *pair in rows):
        return None
    drawing, axis = frame(4.8, 0.95 + 0.24 * len(rows))
    for place, (_, first, second) in enumerate(rows[::-1]):
        if known(first, second):
            axis.plot([first, second], [place, place], color=MUTED, linewidth=1, zorder=1)
        for value, colour, marker in ((first, ACCENT, "o"), (second, OTHER, "s")):
            if known(value):
                axis.plot(value, place, marker, color=colour, markersize=5)
    axis.set_yticks(range(len(rows)), labels=[name for name, *_ in rows[::-1]])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(f"{label}\n(red, round: {sides[0]}; blue, square: {sides[1]})")
    return svg(drawing)
