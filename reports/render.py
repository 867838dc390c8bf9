"""Rendering: a run as the tables of the terminal and of report.md."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from reports.record import Record, Run
from reports.scores import Score, families, score, verdict_counts

MARKS = {"supported": "+", "refuted": "-", "inconclusive": "?", "reported": " ", "not applicable": "/", "error": "!"}
NOTICE = (
    "This is a reference model: trained by this project on text with planted feelings, and judged on stimuli of that world, "
    "not on the English ones. It checks the suite and is no evidence about language models."
)

HOW_TO_READ = """\
Value, null and net share one bounded scale; net is value minus null with its 95% interval; skill is net over what the
null leaves up to the best possible value. Supported: the interval of net lies above 0 and the value above the 95th
percentile of its permutations. Refuted: the interval lies below the smallest effect of interest. Else inconclusive."""


def figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a value with its interval, three decimals, or a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def claim_rows(run: Run) -> list[dict[str, str]]:
    """Return one row per record: case, value with interval, the null that it was judged against, net, skill and verdict."""
    rows = []
    for r in run.records:
        net = r.net or {}
        rows.append(
            {
                "claim / case": r.id,
                "value": figure(r.value, r.low, r.high),
                "null": f"{net['null']:.3f} {net['against']}" if net else "-",
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
    """Return the model's row: size, device, skill per family, and how many judged cases are supported."""
    subject = run.subject
    whole = score(list(run.records))
    return {
        "model": str(subject.get("model")),
        "parameters": f"{subject['parameters']:,}" if subject.get("parameters") else "-",
        "device": f"{subject.get('device')}-{subject.get('dtype')}",
        **{name: cell(found, run.complete) for name, found in families(run).items()},
        "supported": f"{whole.supported} of {whole.judged}",
    }


def table(rows: list[dict[str, str]], style: str) -> str:
    """Return rows as a table of tabulate's; figures stay as they were written."""
    return tabulate(rows, headers="keys", tablefmt=style, disable_numparse=True)


def facts(run: Run) -> list[str]:
    """Return the lines that say what was judged, with what and how completely."""
    s, o, v = run.subject, run.options, run.versions
    dirty = {True: ", changed since", False: "", None: ", state unknown"}[run.suite["dirty"]]
    layers = sorted({r.layer for r in run.records if r.layer is not None})
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


def terminal(run: Run) -> str:
    """Return what the terminal shows at the end of a run."""
    notice = [NOTICE, ""] if run.subject.get("stimuli") == "world" else []
    reasons = [f"  ? {r.id}: {r.reason}" for r in run.records if r.verdict in ("inconclusive", "not applicable", "error")]
    parts = [
        *facts(run),
        *notice,
        table(claim_rows(run), "simple"),
        "",
        counted(run),
        *reasons,
        "",
        table([leaderboard_row(run)], "simple"),
    ]
    return "\n".join(parts)


def markdown(run: Run) -> str:
    """Return report.md: facts, verdicts, the leaderboard row, and a section per claim."""
    notice = [f"> {NOTICE}", ""] if run.subject.get("stimuli") == "world" else []
    parts = [
        f"# Emotion steering: {run.subject.get('model')}",
        "",
        *[f"- {line}" for line in facts(run)],
        f"- norms of valence and arousal: {run.options.get('norms') or 'coded by the project after Russell (1980)'}",
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
        parts += section([r for r in run.records if r.family == name])
    return "\n".join(parts) + "\n"


def section(records: list[Record]) -> list[str]:
    """Return the section of a claim: the sentence, its source and published figure, and each case with its nulls and detail."""
    first = records[0]
    lines = [f"## {first.claim.replace('_', ' ').capitalize()}", "", f"*{first.statement}*", ""]
    lines += [f"Source: {first.source}. Published: {first.published}. Smallest effect of interest: skill {first.smallest_effect:g}.", ""]
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
        lines += [
            table(
                [
                    {"null": n["kind"], "draws": str(n["n"]), "mean": figure(n["mean"]), "95th percentile": figure(n["p95"])}
                    for n in r.nulls
                ],
                "github",
            ),
            "",
        ]
        lines += detail(r.details or {})
    return lines


def detail(details: dict[str, Any]) -> list[str]:
    """Return the details of a record that a person reads; matrices stay in run.json."""
    lines: list[str] = []
    if layers := details.get("layers"):
        rows = [{k: figure(v) if isinstance(v, float) else str(v) for k, v in row.items()} for row in layers]
        lines += ["Per layer (total_sd_d only for comparison with the post):", "", table(rows, "github"), ""]
    if post := details.get("built from 30 pairs"):
        figures = f"d by the total SD {post['total_sd_d']:.3f}, AUROC {post['auroc']:.3f}"
        lines += [f"Built from the first 30 pairs and tested on the rest, as in the post: {figures}.", ""]
    if pairs := details.get("pairs"):
        if isinstance(pairs, list):
            lines += [", ".join(f"{p['pair']} {p['cosine']:.3f}" for p in pairs), ""]
    if twins := details.get("twins"):
        lines += ["Text-only twins by themselves: " + ", ".join(f"{k} {v:.3f}" for k, v in twins.items()), ""]
    if words := details.get("words"):
        rows = [{"emotion": w["emotion"], "promoted": ", ".join(w["promoted"]), "suppressed": ", ".join(w["suppressed"])} for w in words]
        lines += [table(rows, "github"), ""]
    if post := details.get("published protocol"):
        twins_raised = ", ".join(map(str, details["untrained twin, own words raised"]))
        lines += [
            f"By the post's own protocol (raw vector times 1.0): {post['raised']} of {post['of']} vectors raise their own word, "
            f"by {post['mean']:.3f} nats on average (from {post['lowest']:.3f} to {post['highest']:.3f}). "
            f"Three untrained twins raise {twins_raised} of {post['of']} at the judged strength.",
            "",
        ]
    return lines
