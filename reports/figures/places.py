"""Places: emotions or activities as points, on the circumplex, on a direction, or read-out against choice."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from reports.figures.drawing import ACCENT, OTHER, frame, known, named_points, number, numbers, svg, zero
from reports.record import Record


def circumplex(record: Record) -> str | None:
    """Return the emotion vectors on the components that go with valence and with arousal, turned so that both point up."""
    d = record.details or {}
    if not (d.get("scatter") and d.get("circumplex") and d.get("emotions")):
        return None
    scores, plan = np.array([numbers(row) for row in d["scatter"]]), np.array([numbers(row) for row in d["circumplex"]])
    r = np.array([[alike(scores[:, k], plan[:, a]) for k in range(scores.shape[1])] for a in (0, 1)])
    across = int(np.argmax(np.abs(r[0])))
    up = max((k for k in range(scores.shape[1]) if k != across), key=lambda k: abs(float(r[1, k])), default=across)
    drawing, axis = frame(5.2, 4.6)
    zero(axis, x=True, y=True)
    xs, ys = (scores[:, k] * (1 if r[a, k] >= 0 else -1) for a, k in ((0, across), (1, up)))
    colours = [OTHER if valence > 0 else ACCENT for valence in plan[:, 0]]
    named_points(axis, list(zip(xs.tolist(), ys.tolist(), map(str, d["emotions"]), colours, strict=True)))
    shares = numbers(d.get("variance explained") or [])
    for say, k, a, target in ((axis.set_xlabel, across, 0, "valence"), (axis.set_ylabel, up, 1, "arousal")):
        share = f"{shares[k]:.0%} of variance, " if k < len(shares) and known(shares[k]) else ""
        say(f"PC{k + 1} ({share}|r| with {target} {abs(r[a, k]):.2f})")
    return svg(drawing)


def alike(x: np.ndarray, y: np.ndarray) -> float:
    """Return the correlation of two columns, 0 where one has no spread."""
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 2 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return 0.0
    return float(np.corrcoef(x[both], y[both])[0, 1])


def preferences(record: Record) -> str | None:
    """Return read-out against choice: a point per activity; or per emotion, against its valence or against the shift when steered."""
    rows: list[dict[str, Any]] = [item for item in record.items if "elo" in item]
    named = [row for row in (record.details or {}).get("emotions") or [] if isinstance(row, dict) and {"shift", "valence"} & set(row)]
    if not rows and not named:
        return None
    drawing, axis = frame(4.8, 3.6)
    zero(axis, x=True, y=True)
    if rows:
        axis.plot(numbers([r.get("score") for r in rows]), numbers([r["elo"] for r in rows]), "o", color=ACCENT, alpha=0.7, markersize=4)
        axis.set_xlabel("read-out of the activity, less its category's mean")
        axis.set_ylabel("Elo from the model's choices")
        return svg(drawing)
    if "shift" in named[0]:
        named_points(axis, [(number(row.get("r")), number(row["shift"]), str(row["emotion"]), ACCENT) for row in named])
        axis.set_xlabel("correlation of the read-out with utility")
        axis.set_ylabel("shift of the choice when steered, nats")
        return svg(drawing)
    points = [(number(row["valence"]), number(row.get("r")), str(row["emotion"]), ACCENT) for row in named]
    axis.plot([x for x, *_ in points], [y for _, y, *_ in points], "o", color=ACCENT, alpha=0.7, markersize=4)
    # emotions of one side often read alike, so that only the ends have room for their names
    named_points(
        axis, list({end[2]: end for k in (0, 1) for end in (min(points, key=itemgetter(k)), max(points, key=itemgetter(k)))}.values())
    )
    axis.set_xlabel("valence of the emotion, by the norms")
    axis.set_ylabel("correlation of the read-out with utility")
    return svg(drawing)


def sides(record: Record) -> str | None:
    """Return the projections of the two sides of every pair on the direction that was built without them."""
    pairs = [(number(item.get("first")), number(item.get("second"))) for item in record.items if "first" in item and "second" in item]
    if not any(known(*pair) for pair in pairs):
        return None
    drawing, axis = frame(5, 1.9)
    zero(axis, x=True)
    for height, side, colour in ((1, 0, ACCENT), (0, 1, OTHER)):
        # a steady scatter across the row keeps points apart
        offsets = [((k * 0.618) % 1 - 0.5) * 0.55 for k in range(len(pairs))]
        axis.plot([pair[side] for pair in pairs], [height + o for o in offsets], "o", color=colour, alpha=0.6, markersize=3.5)
    axis.set_yticks([1, 0], labels=["first side", "second side"])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_ylim(-0.6, 1.6)
    axis.set_xlabel("projection on the direction built from the other pairs")
    return svg(drawing)
