"""`python -m reports leaderboard`: boards as a terminal table, Markdown, CSV or a self-contained HTML page."""

from __future__ import annotations

import argparse
import csv
import html
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cases.shown import in_csv, in_markdown
from cases.versions import checkout
from reports.blocks import listed
from reports.command import target
from reports.details import figure, table
from reports.leaderboard import Board, Row, boards
from reports.scores import Score
from reports.store import find_runs, read_run, write_whole

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #c4c4c4; --soft: #f1f1f1 }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --paper: #161616; --line: #4a4a4a; --soft: #242424 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem 1rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left }
th { background: var(--soft) }
""".strip()
HOW_TO_READ = (
    "Skill is net over what the strictest null leaves up to the best possible value, with its 95% interval. Rows share a rank where the "
    "interval of their paired difference in mean skill to the first of that rank includes 0. Supported: with Wilson's 95% interval."
)


def skill_cell(found: Score | None) -> str:
    """Return skill with interval, in two decimals to keep rows short."""
    if found is None or found.skill is None or found.low is None or found.high is None:
        return "-"
    return f"{found.skill:.2f} [{found.low:.2f}, {found.high:.2f}]"


def rank_cell(row: Row) -> str:
    """Return the rank, with = where it is shared, or why there is none."""
    if row.unranked:
        return row.unranked.split(":")[0]
    return f"{row.rank}=" if row.tied else str(row.rank)


def summary(row: Row) -> dict[str, str]:
    """Return what a row says of the whole model."""
    s = row.run.subject
    share = f"{row.whole.supported} of {row.whole.judged}" + ("" if row.share is None else " [{:.2f}, {:.2f}]".format(*row.share))
    return {
        "rank": rank_cell(row),
        "model": str(s.get("model")),
        "parameters": f"{s['parameters']:,}" if s.get("parameters") else "-",
        "device": f"{s.get('device')}-{s.get('dtype')}",
        "skill": skill_cell(row.common),
        "risk": "-" if row.unranked else figure(row.risk),
        "supported": "-" if row.unranked and not row.run.complete else share,
    }


def family_cells(row: Row, names: Sequence[str]) -> dict[str, str]:
    """Return a row's skill per family; a dash where it would mislead."""
    return {name: "-" if row.unranked else skill_cell(row.families.get(name)) for name in names}


def titled(board: Board) -> str:
    """Return the conditions of a board in one line; what is everywhere as shipped is not named."""
    usual = {
        "judged layer": "auto",
        "emotions": "core",
        "passages": "shipped",
        "norms of valence and arousal": "None",
        "given vectors": "None",
    }
    return ", ".join(
        f"{name} {value}" for name, value in board.conditions.items() if value not in (usual.get(name), "None") or name not in usual
    )


def remarks(board: Board, others: int) -> list[str]:
    """Return what a reader must know before comparing rows."""
    lines = []
    if others > 1:
        lines.append(f"One of {others} boards: runs with other stimuli, profile or passages are never ranked together.")
    if board.conditions["stimuli"] == "world":
        lines.append("Reference models, on stimuli of their own world: they check the suite and are no evidence about language models.")
    ranked = [row for row in board.rows if row.unranked is None]
    if ranked:
        lines.append(f"Skill: mean over the {len(board.cases)} judged cases that every ranked row was judged on.")
    lines += [
        f"Not ranked: {row.run.subject.get('model')} on {row.run.subject.get('device')}, {row.unranked}."
        for row in board.rows
        if row.unranked
    ]
    if left := sum(row.left for row in board.rows):
        lines.append(f"Left out: {left} other runs of the same model, revision, device and dtype.")
    return lines


def terminal(found: Sequence[Board], width: int) -> str:
    """Return the boards for a terminal: the summary, then the families, as many beside each other as fit."""
    parts = []
    for board in found:
        parts += [titled(board), "", table([summary(row) for row in board.rows], "simple"), ""]
        names = board.families if any(row.unranked is None for row in board.rows) else []
        first = max((len(str(row.run.subject.get("model"))) for row in board.rows), default=0) + 2
        at_once = max(1, (width - first) // 22)
        for start in range(0, len(names), at_once):
            some = names[start : start + at_once]
            rows = [{"model": str(row.run.subject.get("model")), **family_cells(row, some)} for row in board.rows if row.unranked is None]
            parts += [table(rows, "simple"), ""]
        parts += [*remarks(board, len(found)), ""]
    return "\n".join([*parts, HOW_TO_READ]) + "\n"


def markdown(found: Sequence[Board]) -> str:
    """Return the boards as Markdown, one wide table each."""
    parts = ["# Leaderboard", ""]
    for board in found:
        rows = [{**summary(row), **family_cells(row, board.families)} for row in board.rows]
        parts += [f"## {in_markdown(titled(board))}", "", table(rows, "github"), ""]
        parts += [*listed(remarks(board, len(found))), ""]
    return "\n".join([*parts, HOW_TO_READ]) + "\n"


def page(found: Sequence[Board]) -> str:
    """Return the boards as one HTML page that loads nothing; names are escaped."""
    parts = ["<h1>Leaderboard</h1>"]
    for board in found:
        rows = [{**summary(row), **family_cells(row, board.families)} for row in board.rows]
        parts += [
            f"<h2>{html.escape(titled(board))}</h2>",
            f'<div class="scroll" tabindex="0" role="region" aria-label="leaderboard">{table(rows, "html")}</div>',
        ]
        parts += ["<ul>", *(f"<li>{html.escape(remark)}</li>" for remark in remarks(board, len(found))), "</ul>"]
    body = "\n".join([*parts, f"<p>{html.escape(HOW_TO_READ)}</p>"])
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"{meta}<title>Leaderboard</title><style>{STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def comma_separated(found: Sequence[Board]) -> str:
    """Return the boards as CSV, every figure in a column of its own; nothing where there is no figure."""
    rows = [{**condition, **cells} for board in found for condition in [board.conditions] for cells in map(figures, board.rows)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: in_csv(cell) for name, cell in row.items()} for row in rows)
    return stream.getvalue()


def figures(row: Row) -> dict[str, object]:
    """Return a row's figures, unrounded, by column; no aggregate where the row is not ranked."""
    s = row.run.subject
    cells: dict[str, object] = {key: s.get(key) for key in ("model", "revision", "parameters", "device", "dtype")}
    cells |= {"start": row.run.start, "rank": row.rank, "tied": row.tied if row.rank else None, "not ranked": row.unranked}
    if row.unranked:
        return cells
    for name, found in {"skill": row.common, **row.families}.items():
        if found and found.judged:
            cells |= {name: found.skill, f"{name} low": found.low, f"{name} high": found.high}
    low, high = row.share or (None, None)
    judged = {"supported": row.whole.supported, "judged": row.whole.judged, "supported low": low, "supported high": high}
    return {**cells, "risk": row.risk, **judged}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `leaderboard`."""
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run.json, the folder that holds one, or a folder of many")
    parser.add_argument("--sort", choices=("parameters", "skill"), default="parameters", help="order of the rows (default: parameters)")
    parser.add_argument("--format", choices=("terminal", "markdown", "csv", "html"), default="terminal", help="default: terminal")
    parser.add_argument("--output", metavar="FILE", type=target, help="write to a file instead of the terminal")
    parser.add_argument(
        "--current",
        choices=("checkout", "newest"),
        default="checkout",
        help="whose claim versions, cases and stimuli are current, so that others are stale (default: checkout)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the leaderboard of all runs that the paths stand for."""
    current = checkout() if arguments.current == "checkout" else None
    found = boards([read_run(path) for path in find_runs(arguments.runs)], arguments.sort, current)
    width = shutil.get_terminal_size((120, 40)).columns
    written = {
        "terminal": lambda: terminal(found, width),
        "markdown": lambda: markdown(found),
        "csv": lambda: comma_separated(found),
        "html": lambda: page(found),
    }[arguments.format]()
    if arguments.output:
        write_whole(arguments.output, written)
    else:
        sys.stdout.write(written)
    return 0
