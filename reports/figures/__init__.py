"""Figures of a run, as SVG: drawn from its records alone, one kind for each family that has one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from reports.figures import bars, clusters, course, dose, heatmap, places
from reports.figures.drawing import ACCENT, INK, styled
from reports.record import Record, Run

__all__ = ["ACCENT", "DRAWN", "INK", "OVERALL", "Kind", "dose_response", "drawings", "figures", "of_record", "of_run", "trajectory"]


dose_response, trajectory = styled(dose.dose_response), styled(course.trajectory)


@dataclass(frozen=True)
class Kind:
    """A kind of figure: how it is drawn from a record (None where the record has no data for it), its name, and how to read it.

    `shared`: cases with the same details have the same figure.
    """

    draw: Callable[[Record], str | None]
    title: str
    told: str
    shared: bool = True


PAIRS = Kind(
    places.sides,
    "Projections of both sides of every pair",
    "Each point is a text. The further apart the rows, the better.",
)
LAYERS = Kind(course.layers, "By layer", "What was measured at the output of each block.")
COSINES = Kind(
    heatmap.cosines,
    "Cosines between emotion vectors",
    "Red: alike; blue: opposed. Similar emotions stand beside one another, so blocks on the diagonal are families of feelings.",
)
CIRCUMPLEX = Kind(
    places.circumplex,
    "Emotion vectors on their principal components",
    "Blue: pleasant by the norms; red: unpleasant. The components shown are those that go with valence and with arousal.",
)
SHIFTS = Kind(
    dose.conditions,
    "Shift of the act under every direction",
    "Filled: neutral text stays coherent. The grey bar holds 90% of random directions at its strength.",
)
SCORES = Kind(
    clusters.scores,
    "Value and nulls",
    "Red: the value with its 95% interval. Grey: every null, from its mean to its 95th percentile. Black: what the value is the mean of.",
    shared=False,
)
RATES = Kind(bars.rates, "Rates in sampled answers", "The share of misdeeds among readable answers of every arm.")

DRAWN: dict[str, tuple[Kind, ...]] = {
    "separation": (PAIRS,),
    "fear": (
        Kind(
            heatmap.contrasts,
            "Which direction separates which pairs",
            "AUROC of the direction in the row on the pairs of the column. Red: as built; blue: reversed; no colour: chance.",
        ),
        PAIRS,
    ),
    "kinds": (PAIRS,),
    "layer_profile": (Kind(course.layers, "Separation by layer", "How well the held-out pairs separate at the output of each block."),),
    "agreement": (LAYERS,),
    "geometry": (COSINES,),
    "circumplex": (CIRCUMPLEX,),
    "scenarios": (Kind(heatmap.confusion, "Which emotion was read", "Row: the emotion implied; column: the emotion read most strongly."),),
    "intensity": (SCORES,),
    "logit_lens": (SCORES,),
    "self_steering": (Kind(bars.lifts, "Each vector on its own word", "Red: lift of its own word. Grey: 90% of random directions."),),
    "cross_emotion": (
        Kind(heatmap.effects, "Effect of each vector on every emotion word", "Red: the word becomes likelier; blue: less likely."),
    ),
    "dose_response": (
        Kind(
            dose.dose_response,
            "Dose and response",
            "Red: coherent and beyond random; filled: coherent; hollow: not coherent. Grey area: share of texts that stay coherent.",
        ),
    ),
    "flip": (SCORES,),
    "asymmetry": (Kind(clusters.sides_of_strength, "Where the text breaks", "How far each direction can be steered to either side."),),
    "prompting": (Kind(clusters.words, "Steered and asked for in words", "Each row is an emotion."),),
    "side_effects": (
        Kind(dose.costs, "What steering costs neutral text", "Further nats per token; dashed: random directions of the same norm."),
    ),
    "preferences": (Kind(places.preferences, "Read-out and choice", "Each point is an activity or an emotion."),),
    "blackmail": (RATES, SHIFTS),
    "reward_hacking": (RATES, SHIFTS),
    "sycophancy": (RATES, SHIFTS),
    "trajectory": (
        Kind(
            trajectory,
            "Read-out over a session",
            "Red: the emotion, less the same steps of other work. Grey: 90% of random directions.",
            shared=False,
        ),
    ),
    "monitoring": (SCORES,),
}
"""The kinds of figure of each family, first come first: a record has the first that its details allow."""


@dataclass(frozen=True)
class Overall:
    """A figure of a whole run."""

    draw: Callable[[Run], str | None]
    title: str
    told: str


OVERALL: dict[str, Overall] = {
    "risk": Overall(
        bars.risk,
        "How far coherent steering moves harmful acts",
        "Red: towards harm; the others: away from it. Dotted: the 95th percentile of random directions.",
    ),
}


def of_record(record: Record) -> tuple[Kind, str] | None:
    """Return a record's figure and its kind; None where it has none; whatever a drawing raises passes."""
    for kind in DRAWN.get(record.family, ()):
        if drawn := styled(kind.draw)(record):
            return kind, drawn
    return None


def of_run(kind: Overall, run: Run) -> str | None:
    """Return a figure of the whole run."""
    return styled(kind.draw)(run)


Drawings = tuple[dict[str, tuple[Kind, str]], dict[str, str]]
"""Kind and SVG of every record that has a figure, by family-case, and why the others that should have one could not be drawn."""


def drawings(run: Run) -> Drawings:
    """Return every record's figure."""
    drawn: dict[str, tuple[Kind, str]] = {}
    failed: dict[str, str] = {}
    before: dict[str, tuple[Kind, str] | None] = {}
    for record in run.records:
        name = record.id.replace("/", "-")
        # cases of one claim often share their data, and drawing takes longest
        shared = {key: value for key, value in (record.details or {}).items() if key != "twins"}
        places = [{key: value for key, value in item.items() if key != "score" or "elo" in item} for item in record.items]
        own = record.case if any(not kind.shared for kind in DRAWN.get(record.family, ())) else None
        key = json.dumps([record.family, own, shared, places], sort_keys=True, default=str)
        try:
            found = before[key] = before[key] if key in before else of_record(record)
        except Exception as error:  # whatever breaks in a figure must not lose the report
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        if found:
            drawn[name] = found
    return drawn, failed


def figures(run: Run) -> dict[str, str]:
    """Return the SVG of every record that has a figure, by family-case."""
    return {name: svg for name, (_, svg) in drawings(run)[0].items()}
