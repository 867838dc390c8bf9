"""Page: a run as one HTML file that needs nothing else, for any screen and for paper."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases.shown import shown
from reports.blocks import Block, Sample, Table
from reports.command import free_form
from reports.details import blocks, figure
from reports.figures import OVERALL, Drawings, drawings, of_run
from reports.inline import inline
from reports.record import VERDICTS, Record, Run
from reports.render import HOW_TO_READ, NOTICE, facts, family_rows, reasons
from reports.scores import Score, families, score, skill_interval, verdict_counts

TEMPLATE = Path(__file__).parent / "template"
SHOWN_ITEMS = 6
SHOWN_TEXTS = 3
LOWEST = -0.5
"""Left end of a skill bar: what lies below it is drawn at it."""

ABOUT = {
    "supported": "the interval of the net value lies above 0, and the value in the top 5% of its permutations or random directions",
    "refuted": "the interval lies below the smallest effect of interest",
    "inconclusive": "neither can be said",
    "not applicable": "the model cannot be asked",
    "error": "the measurement broke",
    "reported": "measured and not judged",
}


@dataclass(frozen=True)
class Bar:
    """A skill with its interval as places on a bar, in per cent of its width; `zero` is where skill is 0."""

    at: float
    low: float
    high: float
    zero: float = 100 * -LOWEST / (1 - LOWEST)


def bar(skill: float | None, low: float | None, high: float | None) -> Bar | None:
    """Return the bar of a skill; None where it has none."""
    if skill is None or low is None or high is None:
        return None
    return Bar(*(round(100 * (min(max(v, LOWEST), 1.0) - LOWEST) / (1 - LOWEST), 2) for v in (skill, low, high)))


@dataclass(frozen=True)
class Drawing:
    """A figure on the page: the element, its caption, and how to read it; or the case that shows the same; or why there is none."""

    element: str | None = None
    title: str = ""
    told: str = ""
    same_as: str | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Shown:
    """A case as the page shows it."""

    record: Record
    key: str
    bar: Bar | None
    facts: list[tuple[str, str]]
    nulls: Table | None
    details: list[tuple[str, Block]]
    drawing: Drawing | None
    items: Table | None
    items_told: str
    texts: list[tuple[str, list[str]]]


def case_facts(r: Record) -> list[tuple[str, str]]:
    """Return what was measured of a case, name and figure."""
    if r.value is None:
        return []
    net = r.net or {}
    rows = [
        (r.quantity, figure(r.value, r.low, r.high)),
        ("null it is judged against", f"{figure(net['null'])} ({net['against']})" if net else "-"),
        ("net of that null", figure(net.get("value"), net.get("low"), net.get("high"))),
        ("skill", figure(r.skill)),
    ]
    if r.rank_p is not None:
        rows.append(("p, rank among permutations or random directions", figure(r.rank_p)))
    rows += [("measured on", f"{r.n} items, {r.clusters} clusters ({r.cluster})")]
    if r.layer is not None:
        rows.append(("layer", str(r.layer)))
    if r.strength is not None:
        rows.append(("strength", f"{r.strength:g} median residual norms"))
    return [*rows, ("version of the claim", r.version)]


def null_table(r: Record) -> Table | None:
    """Return every null of a case with its draws."""
    rows = [{"null": str(n["kind"]), "draws": str(n["n"]), "mean": figure(n["mean"]), "95th percentile": figure(n["p95"])} for n in r.nulls]
    return Table(rows) if rows else None


def said(value: Any) -> str:
    """Return an entry of an item as words."""
    if isinstance(value, list):
        return ", ".join(said(v) for v in value)
    return figure(value) if isinstance(value, float | None) else str(value)


def item_table(r: Record) -> tuple[Table | None, str]:
    """Return a sample of a record's items, those with the lowest and the highest scores, and what it is."""
    scored = sorted(r.items, key=lambda item: (item.get("score") is None, item.get("score") or 0.0))
    chosen = scored if len(scored) <= SHOWN_ITEMS else [*scored[: SHOWN_ITEMS // 2], *scored[-(SHOWN_ITEMS // 2) :]]
    if not chosen:
        return None, ""
    told = "All items" if len(chosen) == len(scored) else f"The lowest and the highest {SHOWN_ITEMS // 2} of {len(scored)} items by score"
    rows = [{k: said(v) for k, v in item.items() if k != "cluster" or v != item.get("id")} for item in chosen]
    return Table(rows), told


def shown_cases(run: Run, samples: Sequence[dict[str, Any]], made: Drawings) -> list[Shown]:
    """Return every case of a run with its figure, its details and a sample of its data."""
    drawn, failed = made
    texts: dict[tuple[str, str], list[tuple[str, list[str]]]] = {}
    for row in samples:
        if row.get("texts"):
            texts.setdefault((str(row["claim"]), str(row["case"])), []).append((str(row["id"]), [str(t) for t in row["texts"]]))
    first: dict[str, Shown] = {}
    found = []
    for number, r in enumerate(run.records, 1):
        name, key = r.id.replace("/", "-"), f"case-{number}"
        drawing = None
        if name in failed:
            drawing = Drawing(failed=failed[name])
        elif name in drawn:
            kind, svg = drawn[name]
            title = f"{kind.title}, {r.case}"
            if svg in first:
                drawing = Drawing(title=first[svg].record.id, same_as=first[svg].key)
            else:
                drawing = Drawing(inline(svg, key, title, kind.told), title, kind.told)
        interval = skill_interval(r)
        with free_form(f"the details or items of {shown(r.id)}"):
            items, told = item_table(r)
            details = [block for found in blocks(r.details or {}) for block in captioned(found)]
        case = Shown(
            record=r,
            key=key,
            bar=bar(*interval) if interval else None,
            facts=case_facts(r),
            nulls=null_table(r),
            details=details,
            drawing=drawing,
            items=items,
            items_told=told,
            texts=texts.get((r.claim, r.case), [])[:SHOWN_TEXTS],
        )
        if name in drawn:
            first.setdefault(drawn[name][1], case)
        found.append(case)
    return found


def family_table(run: Run) -> list[dict[str, Any]]:
    """Return a row per family and one for all, each with its bar, its risk and its verdicts; no figure where the run is incomplete."""
    scores: dict[str, Score] = {**families(run), "all": score(list(run.records))}
    rows = []
    for row, (name, s) in zip(family_rows(run), scores.items(), strict=True):
        counts = Counter(r.verdict for r in run.records if name in (r.family, "all"))
        verdicts = [(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]]
        rows.append({**row, "name": name, "bar": bar(s.skill, s.low, s.high) if run.complete else None, "verdicts": verdicts})
    return rows


def overall(run: Run) -> list[Drawing]:
    """Return the figures of the whole run, and why one could not be drawn."""
    found = []
    for key, kind in OVERALL.items():
        try:
            svg = of_run(kind, run)
        except Exception as error:  # whatever breaks in a figure must not lose the report
            found.append(Drawing(title=kind.title, failed=f"{type(error).__name__}: {error}".splitlines()[0]))
            continue
        if svg:
            found.append(Drawing(inline(svg, f"all-{key}", kind.title, kind.told), kind.title, kind.told))
    return found


def captioned(found: Sequence[Block]) -> list[tuple[str, Block]]:
    """Return blocks with their captions: the sentence before a table or a sample is its caption, and no paragraph."""
    kept = [block for block in found if block]
    after = [*kept[1:], ""]
    return [
        (str(kept[i - 1]).rstrip(":") if i and isinstance(kept[i - 1], str) else "", block)
        for i, block in enumerate(kept)
        if not (isinstance(block, str) and isinstance(after[i], Table | Sample))
    ]


def kind_of(block: Block) -> str:
    """Return what a block is, for the template."""
    return "table" if isinstance(block, Table) else "sample" if isinstance(block, Sample) else "text"


def page(run: Run, samples: Sequence[dict[str, Any]] = (), made: Drawings | None = None) -> str:
    """Return report.html: verdicts at a glance, then every claim; `samples` are the rows of samples.jsonl, where there are any.

    `made` are the records' figures, where they are drawn already.

    Everything that a record or a model says is escaped; the policy in its head lets no script run but its own, and nothing be fetched.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    script = (TEMPLATE / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    world = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    world.filters["words"] = lambda name: str(name).replace("_", " ")
    world.filters["slug"] = lambda verdict: str(verdict).replace(" ", "-")
    world.tests["table"] = lambda block: kind_of(block) == "table"
    world.tests["sample"] = lambda block: kind_of(block) == "sample"
    cases = shown_cases(run, samples, made or drawings(run))
    claims = [(name, [c for c in cases if c.record.family == name]) for name in dict.fromkeys(r.family for r in run.records)]
    return world.get_template("report.html.j2").render(
        run=run,
        css=Markup((TEMPLATE / "report.css").read_text("utf-8")),
        script=Markup(script),
        digest=digest,
        facts=facts(run),
        notice=NOTICE if run.subject.get("stimuli") == "world" else None,
        how=HOW_TO_READ.replace("\n", " "),
        counts=verdict_counts(run),
        about=ABOUT,
        families=family_table(run),
        reasons=[reason.strip() for reason in reasons(run)],
        refuted=[c for c in cases if c.record.verdict == "refuted"],
        whole=score(list(run.records)),
        overall=overall(run),
        claims=claims,
        Markup=Markup,
    )
