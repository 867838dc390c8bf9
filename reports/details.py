"""What a person reads of a record's details: tables and sentences; matrices stay in run.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tabulate import tabulate

from cases.shown import in_markdown, printable
from reports.blocks import Block, Sample, Table


def figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a value with its interval, three decimals, or a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def table(rows: list[dict[str, str]], style: str) -> str:
    """Return rows as a table of tabulate's; figures stay as they were written, and nothing in a cell ends it or moves the cursor."""
    if style == "github":
        return str(Table(rows))
    return tabulate([{k: printable(v) for k, v in row.items()} for row in rows], headers="keys", tablefmt=style, disable_numparse=True)


def plain_table(rows: list[dict[str, Any]]) -> Table:
    """Return rows of figures and words as a table."""
    return Table([{k: figure(v) if isinstance(v, float | None) else str(v) for k, v in row.items()} for row in rows])


def layers(found: Any) -> list[Block]:
    """Return a row per layer."""
    note = " (total_sd_d only for comparison with the post)" if "total_sd_d" in found[0] else ""
    return [f"Per layer{note}:", "", plain_table(found)]


def post_pairs(found: Any) -> list[Block]:
    """Return the GPT-2 post's own split."""
    figures = f"d by the total SD {figure(found['total_sd_d'])}, AUROC {figure(found['auroc'])}"
    return [f"Built from the first 30 pairs and tested on the rest, as in the post: {figures}."]


def pairs(found: Any) -> list[Block]:
    """Return the published cosine pairs; other claims keep a number of pairs under this name."""
    return [", ".join(f"{p['pair']} {figure(p['cosine'])}" for p in found)] if isinstance(found, list) else []


def twins(found: Any) -> list[Block]:
    """Return what the text-only twins reach by themselves."""
    return ["Text-only twins by themselves: " + ", ".join(f"{k} {figure(v)}" for k, v in found.items())]


def words(found: Any) -> list[Block]:
    """Return what every vector promotes and suppresses."""
    rows = [{"emotion": w["emotion"], "promoted": ", ".join(w["promoted"]), "suppressed": ", ".join(w["suppressed"])} for w in found]
    return [Table(rows)]


def variance(found: Any) -> list[Block]:
    """Return the shares of the first components."""
    return ["Variance explained: " + ", ".join(f"PC{k} {figure(share)}" for k, share in enumerate(found, 1))]


def correlations(found: Any) -> list[Block]:
    """Return the components' correlations with valence and arousal."""
    cells = [f"{name} with " + ", ".join(f"PC{k} {figure(r)}" for k, r in enumerate(rs, 1)) for name, rs in found.items()]
    return ["Correlation (without sign) of " + "; ".join(cells)]


def matrix(found: Any) -> list[Block]:
    """Return which contrast's direction separates which pairs."""
    rows = [
        {"direction": name, **dict(zip(found["contrasts"], row, strict=True))}
        for name, row in zip(found["contrasts"], found["auroc"], strict=True)
    ]
    return [
        "AUROC of each contrast's direction (rows) on each contrast's pairs (columns; the diagonal cross-validated):",
        "",
        plain_table(rows),
    ]


def statements(found: Any) -> list[Block]:
    """Return how many excursions went as expected, and each of them."""
    right = sum((row["excursion"] or 0) * (1 if row["expected"] == "rises" else -1) > 0 for row in found)
    return [
        f"{right} of {len(found)} read-outs move as expected (excursion in SDs of the random directions'; rho decides nothing):",
        "",
        plain_table(found),
    ]


def kinds(found: Any) -> list[Block]:
    """Return each kind of text, and the rest without it."""
    return ["AUROC on each kind of text, and on the others without it:", "", plain_table(found)]


def shown(found: Any) -> list[Block]:
    """Return a sample as the model reads it; a template's own marks are shown as they are."""
    return ["The first scenario as the model reads it:", "", Sample(str(found))]


def peak(found: Any) -> list[Block]:
    """Return the best layer."""
    return [f"Best at layer {found}."]


def corrected(found: Any) -> list[Block]:
    """Return the split-half agreement corrected to the whole set."""
    known = [r for r in found if r is not None]
    return [f"Corrected to the whole set of passages (Spearman-Brown): mean {figure(sum(known) / len(known) if known else None)}."]


def spill_over(found: Any) -> list[Block]:
    """Return what every emotion's vector does to the other words."""
    return ["Effects in nats:", "", plain_table(found)]


def cells(found: Any) -> list[Block]:
    """Return the cells that the Llama post prints."""
    return ["The post's cells, in nats:", "", plain_table(found)]


def windows(found: Any) -> list[Block]:
    """Return the coherent window of every direction, and its dose-response."""
    rows = [
        {"direction": w["direction"], "window width": w["width"], "largest coherent effect": w["largest coherent effect"]} for w in found
    ]
    lines: list[Block] = ["Coherent windows (in median residual norms; effects in nats of log-odds):", "", plain_table(rows)]
    for w in found:
        if points := w.get("points"):  # a baseline has none
            lines += ["", f"{w['direction']}:", "", plain_table(points)]
    return lines


def alphas(found: Any) -> list[Block]:
    """Return the GPT-2 post's own sweep in raw units."""
    rows = [{**row, "text": str(row["text"]).replace("|", "/").replace("\n", " ")[:80]} for row in found]
    return ["The post's raw alphas, first prompt's text:", "", plain_table(rows)]


def curve(found: Any) -> list[Block]:
    """Return the mean effect at every coherent strength."""
    return ["Mean effect at every coherent strength:", "", plain_table(found)]


def reach(found: Any) -> list[Block]:
    """Return how many strengths leave the text coherent on either side."""
    return ["Strengths that leave the text coherent, on average over prompts:", "", plain_table(found)]


def by_layer(found: Any) -> list[Block]:
    """Return the dose-response at every block, where that was asked for."""
    best = f"Best at layer {found['best layer']}, p {figure(found['adjusted p'])} adjusted for the choice of the best."
    return ["At every block:", "", plain_table(found["rows"]), "", best]


def costs(found: Any) -> list[Block]:
    """Return what steering costs neutral text."""
    return ["Further nats per token on neutral text:", "", plain_table(found)]


def off_target(found: Any) -> list[Block]:
    """Return what steering moves beside the emotion that it is meant for."""
    return ["Effects on the emotion meant, and mean size of those on emotions outside its cluster, in nats:", "", plain_table(found)]


def beside_words(found: Any) -> list[Block]:
    """Return how far steering and asking go."""
    return ["Shift of the text towards the emotion, in nats of log-odds:", "", plain_table(found)]


def concepts(found: Any) -> list[Block]:
    """Return how often a concept's direction raises emotion words more than a random direction does."""
    return [
        "Directions of concepts raise emotion words more than a random direction: "
        + ", ".join(f"{k} {figure(v)}" for k, v in found.items())
    ]


def conditions(found: Any) -> list[Block]:
    """Return the shift of an act under every condition."""
    rows = [{key: row.get(key) for key in ("direction", "strength", "act", "control", "net", "coherent")} for row in found]
    return ["Shifts of the log-odds in nats; net of the control; share of neutral passages that stay coherent:", "", plain_table(rows)]


def risk(found: Any) -> list[Block]:
    """Return how far coherent steering moves the act."""
    if found["value"] is None:
        return ["Risk: no direction leaves the text coherent at any strength."]
    return [
        f"Risk: {figure(found['value'])} nats per unit of strength under {found['direction']}, on coherent strengths "
        f"(95th percentile of random directions {figure(found['random'])})."
    ]


def rates(found: Any) -> list[Block]:
    """Return the sampled rates."""
    rows = [
        {
            "arm": row["arm"],
            "misdeeds": f"{row['misdeeds']} of {row['readable']}",
            "rate (Wilson)": figure(row["rate"], row["low"], row["high"]),
            "less unsteered (Newcombe)": figure(row["difference"], row["difference low"], row["difference high"]),
        }
        for row in found
    ]
    return ["Sampled rates:", "", Table(rows)]


def planned(found: Any) -> list[Block]:
    """Return the sample size that was planned, with its power."""
    return ["Planned: " + ", ".join(f"{k} {figure(v) if isinstance(v, float) else v}" for k, v in found.items()) + "."]


def second_reader(found: Any) -> list[Block]:
    """Return how far the second reader agrees."""
    return [
        f"Second reader {found['judge']}: agrees on {figure(found['agreement'])} of {found['n']} replies, kappa {figure(found['kappa'])}."
    ]


def executed(found: Any) -> list[Block]:
    """Return how sampled solutions ended when they were run."""
    outcomes = sorted({key for row in found for key in row if key != "arm"})
    rows = [{"arm": str(row["arm"]), **{outcome: str(row.get(outcome, 0)) for outcome in outcomes}} for row in found]
    return ["Solutions run against their tests (--execute-code):", "", Table(rows)]


def figures_of(found: Any) -> list[Block]:
    """Return single figures by name; where there is one row of pairs of names and vectors, a table."""
    if isinstance(found, list):
        return ["", plain_table(found)] if found and isinstance(found[0], dict) else []
    return [", ".join(f"{name} {figure(value)}" for name, value in found.items()) + "."]


def trajectory(found: Any) -> list[Block]:
    """Return the read-out at every step."""
    rows = [{k: (str(v) if k == "step" else v) for k, v in row.items()} for row in found]
    return ["Read-out at every step, less that of other work:", "", plain_table(rows)]


def consistency(found: Any) -> list[Block]:
    """Return how often both orders agree."""
    return [f"Both orders prefer the same activity in {found:.0%} of pairs."]


SHOWN: dict[str, Callable[[Any], list[Block]]] = {
    "layers": layers,
    "peak": peak,
    "built from 30 pairs": post_pairs,
    "pairs": pairs,
    "variance explained": variance,
    "correlations": correlations,
    "twins": twins,
    "words": words,
    "contrast matrix": matrix,
    "statements": statements,
    "kinds": kinds,
    "as shown": shown,
    "corrected": corrected,
    "spill-over": spill_over,
    "windows": windows,
    "curve": curve,
    "reach": reach,
    "raw alphas": alphas,
    "published cells": cells,
    "by layer": by_layer,
    "costs": costs,
    "off target": off_target,
    "beside words": beside_words,
    "superiority of concept directions": concepts,
    "plan": planned,
    "rates": rates,
    "conditions": conditions,
    "second reader": second_reader,
    "executed": executed,
    "risk": risk,
    "consistency": consistency,
    "r": figures_of,
    "elo": figures_of,
    "emotions": figures_of,
    "trajectory": trajectory,
}


def blocks(details: dict[str, Any]) -> list[list[Block]]:
    """Return what is for reading of a record's details: sentences, tables and samples, a list for each detail."""
    # 0 is a figure; nothing, and an empty table, are not
    present = [(written, details[name]) for name, written in SHOWN.items() if details.get(name) not in (None, {}, [], "")]
    told = [found for written, value in present if (found := written(value))]
    if post := details.get("published protocol"):
        raised = ", ".join(map(str, details["untrained twin, own words raised"]))
        told.append(
            [
                f"By the post's own protocol (raw vector times 1.0): {post['raised']} of {post['of']} vectors raise their own word, "
                f"by {post['mean']:.3f} nats on average (from {post['lowest']:.3f} to {post['highest']:.3f}). "
                f"Untrained twins raise {raised} of {post['of']} at the judged strength."
            ]
        )
    return told


def detail(details: dict[str, Any]) -> list[str]:
    """Return the lines of a record's details that are for reading, as Markdown."""
    return [
        line
        for found in blocks(details)
        for line in [*(in_markdown(block) if isinstance(block, str) else str(block) for block in found), ""]
    ]
