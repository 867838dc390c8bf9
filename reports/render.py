"""Rendering: a run as the tables of the terminal and of report.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from cases.shown import in_markdown
from reports.blocks import listed
from reports.details import detail, figure, table
from reports.record import Record, Run
from reports.scores import Score, families, risk, score, verdict_counts

MARKS = {"supported": "+", "refuted": "-", "inconclusive": "?", "reported": " ", "not applicable": "/", "error": "!"}
NOTICE = (
    "Judged on stimuli of the planted world, not on the English ones: this is a reference model, trained by this project on text with "
    "planted feelings, or one with their vocabulary. It checks the suite and is no evidence about language models."
)

NONE: Mapping[str, str] = {}

HOW_TO_READ = """\
Value, null and net share one bounded scale; net is value minus null with its 95% interval; skill is net over what the
null leaves up to the best possible value. Supported: the interval of net lies above 0, and the value is in the top 5% of
its label permutations and itself (of random directions, where a single direction is judged). Refuted: the interval lies
below the smallest effect of interest. Else inconclusive."""


def claim_rows(run: Run) -> list[dict[str, str]]:
    """Return one row per record: case, value with interval, the null that it was judged against, net, skill and verdict."""
    rows = []
    for r in run.records:
        net = r.net or {}
        rows.append(
            {
                "claim / case": r.id,
                "value": figure(r.value, r.low, r.high),
                "null": f"{figure(net['null'])} {net['against']}" if net else "-",
                "net": figure(net.get("value"), net.get("low"), net.get("high")),
                "skill": figure(r.skill),
                "verdict": f"{MARKS[r.verdict]} {r.verdict}" + (f" ({r.reason})" if r.verdict == "refuted" and r.reason else ""),
            }
        )
    return rows


def cell(found: Score, complete: bool) -> str:
    """Return a cell of the leaderboard: skill with interval, or a dash where it would mislead."""
    return figure(found.skill, found.low, found.high) if complete else "-"


def leaderboard_row(run: Run) -> dict[str, str]:
    """Return the model's row: size, device, skill per family, risk, and how many judged cases are supported."""
    subject = run.subject
    whole = score(list(run.records))
    return {
        "model": str(subject.get("model")),
        "parameters": f"{subject['parameters']:,}" if subject.get("parameters") else "-",
        "device": f"{subject.get('device')}-{subject.get('dtype')}",
        **{name: cell(found, run.complete) for name, found in families(run).items()},
        "risk": figure(risk(list(run.records)) if run.complete else None),
        "supported": f"{whole.supported} of {whole.judged}",
    }


def family_rows(run: Run) -> list[dict[str, str]]:
    """Return one row per claim family, and one for all: skill with interval, risk, and how many judged cases are supported."""
    found = {**families(run), "all": score(list(run.records))}
    risks = {name: risk([r for r in run.records if name in (r.family, "all")]) for name in found}
    return [
        {
            "family": name,
            "skill": cell(s, run.complete),
            "risk": figure(risks[name] if run.complete else None),
            "supported": f"{s.supported} of {s.judged}" if s.judged else "-",
        }
        for name, s in found.items()
    ]


def facts(run: Run) -> list[str]:
    """Return the lines that say what was judged, with what and how completely."""
    s, o, v = run.subject, run.options, run.versions
    dirty = {True: ", changed since", False: "", None: ", state unknown"}[run.suite["dirty"]]
    # a layer profile names its peak, which is not where anything was judged
    layers = sorted({r.layer for r in run.records if r.layer is not None and r.family != "layer_profile"})
    size = f"{s.get('parameters') or 0:,} parameters, {s.get('layers', '?')} blocks, width {s.get('width', '?')}"
    judged = f"layer {', '.join(map(str, layers)) or '?'} of 0 to {(s.get('layers') or 1) - 1}"
    lines = [
        f"model {s.get('model')} ({s.get('architecture', '?')}, {size}, revision {s.get('revision', '?')})",
        f"on {s.get('device_name', '?')} in {s.get('dtype', '?')}, {s.get('stimuli', '?')} stimuli, {judged}",
        f"profile {o['profile']}, seed {o['seed']}, batch size {o['batch_size']}",
        f"suite {run.suite['version']} at {(run.suite['commit'] or 'no commit')[:12]}{dirty}; "
        f"torch {v['torch']}, transformers {v['transformers']}; {run.duration:.0f} s",
    ]
    if not run.complete:
        lines.append(f"INCOMPLETE: {'; '.join(run.incomplete_because)}")
    return lines


def counted(run: Run) -> str:
    """Return the verdict counts in one line."""
    return ", ".join(f"{count} {verdict}" for verdict, count in verdict_counts(run).items()) or "no records"


def reasons(run: Run) -> list[str]:
    """Return a line for each reason of an inconclusive, inapplicable or broken case; cases that share one share the line."""
    found: dict[str, list[str]] = {}
    for r in run.records:
        if r.verdict in ("inconclusive", "not applicable", "error"):
            found.setdefault(f"{r.verdict}: {r.reason}", []).append(r.id)
    return [f"  {reason} ({ids[0] if len(ids) == 1 else f'{len(ids)} cases'})" for reason, ids in found.items()]


def terminal(run: Run) -> str:
    """Return what the terminal shows at the end of a run."""
    notice = [NOTICE, ""] if run.subject.get("stimuli") == "world" else []
    parts = [
        *facts(run),
        *notice,
        table(claim_rows(run), "simple"),
        "",
        counted(run),
        *reasons(run),
        "",
        table(family_rows(run), "simple"),
    ]
    return "\n".join(parts)


def markdown(run: Run, drawn: Collection[str] = (), failed: Mapping[str, str] = NONE) -> str:
    """Return report.md: facts, verdicts, the leaderboard row, and a section per claim; `drawn` names the figures beside it.

    `failed` says why the others that should be there are not.
    """
    notice = [f"> {NOTICE}", ""] if run.subject.get("stimuli") == "world" else []
    parts = [
        f"# Emotion steering: {in_markdown(run.subject['model'])}",
        "",
        *listed([*facts(run), f"norms of valence and arousal: {run.options.get('norms') or 'coded by the project after Russell (1980)'}"]),
        "",
        *notice,
        f"**{counted(run)}**",
        "",
        table(claim_rows(run), "github"),
        "",
        HOW_TO_READ,
        "",
        "## Leaderboard row",
        "",
        table([leaderboard_row(run)], "github"),
        "",
    ]
    for name in dict.fromkeys(r.family for r in run.records):
        parts += section([r for r in run.records if r.family == name], drawn, failed)
    return "\n".join(parts) + "\n"


def escaped(record: Record) -> Record:
    """Return a record whose texts are written as Markdown shows them."""
    texts: dict[str, Any] = {name: in_markdown(value) for name, value in vars(record).items() if isinstance(value, str)}
    return replace(record, **texts)


def section(records: list[Record], drawn: Collection[str] = (), failed: Mapping[str, str] = NONE) -> list[str]:
    """Return the section of a claim: the sentence, its source and published figure, and each case with its nulls and detail."""
    records = [escaped(r) for r in records]
    first = records[0]
    lines = [f"## {first.claim.replace('_', ' ').capitalize()}", ""]
    if first.statement:  # a baseline has neither the sentence nor its source
        lines += [f"*{first.statement}*", ""]
    source = f"Source: {first.source}. Published: {first.published}. " if first.source else ""
    lines += [f"{source}Smallest effect of interest: skill {first.smallest_effect:g}.", ""]
    for r in records:
        lines += [f"### {r.id}: {r.verdict}", ""]
        if r.reason:
            lines += [f"{r.reason[0].upper()}{r.reason[1:]}.", ""]
        if r.value is None:
            continue
        where = f"layer {r.layer}" + (f", strength {r.strength:g} median residual norms" if r.strength is not None else "")
        lines += [
            f"{r.quantity} = {figure(r.value, r.low, r.high)} at {where}; "
            f"n = {r.n}, {r.clusters} clusters ({r.cluster}), version {r.version}.",
            "",
        ]
        if r.rank_p is not None:
            lines += [f"p = {r.rank_p:.3f}, the rank of the value among its permutations or random directions.", ""]
        if r.nulls:
            told = [
                {"null": n["kind"], "draws": str(n["n"]), "mean": figure(n["mean"]), "95th percentile": figure(n["p95"])} for n in r.nulls
            ]
            lines += [table(told, "github"), ""]
        if (name := r.id.replace("/", "-")) in drawn:
            lines += [f"![{r.claim.replace('_', ' ')}, {r.case}](figures/{name}.svg)", ""]
        elif name in failed:
            lines += [f"The figure could not be drawn: {in_markdown(failed[name])}.", ""]
        lines += detail(r.details or {})
    return lines
