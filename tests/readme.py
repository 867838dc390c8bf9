"""Writes anew what the README shows of runs: `python -m tests.readme RUN`, the folder of a run of the reference model.

The rows of the report, the verdicts by family and the gate come from that run, the counts of every model from `reports/baselines`.
Which rows are shown stays as it is; `test_readme.py` holds them to the baselines.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CASE = re.compile(r"^([a-z_]+/[a-z0-9-]+) ")


def said(*words: str) -> list[str]:
    """Return the lines that `python -m reports` prints."""
    done = subprocess.run([sys.executable, "-m", "reports", *words], cwd=ROOT, check=False, capture_output=True, text=True)
    if not done.stdout:
        raise SystemExit(done.stderr.strip())
    return done.stdout.splitlines()


def block(lines: list[str], first: str) -> tuple[int, int]:
    """Return where the fenced block begins and ends in which a line starts with `first`."""
    inside = next(i for i, line in enumerate(lines) if line.startswith(first))
    begin = max(i for i in range(inside) if lines[i].startswith("```"))
    return begin + 1, next(i for i in range(inside, len(lines)) if lines[i] == "```")


def report(shown: list[str], told: list[str]) -> list[str]:
    """Return the report as the README shows it, from all that is printed of the run: the rows shown before, and how many are left out."""
    told = told[next(i for i, line in enumerate(told) if line.startswith("model ")) :]
    wanted = {found[1] for line in shown if (found := CASE.match(line))}
    end = next(i for i, line in enumerate(told) if line.startswith("all "))
    rows = [line for line in told[: end + 1] if not (found := CASE.match(line)) or found[1] in wanted]
    left = sum(bool(CASE.match(line)) for line in told) - len(wanted)
    last = max(i for i, line in enumerate(rows) if CASE.match(line))
    return [*rows[: last + 1], f"... ({left} more rows)", *rows[last + 1 :]]


def gate(shown: list[str], told: list[str]) -> list[str]:
    """Return the gate as the README shows it: as many lines of what is printed, and how many are left out."""
    kept = len(shown) - 2
    return [shown[0], *told[:kept], f"  ... ({len(told) - kept} more)"]


def counts(lines: list[str]) -> list[str]:
    """Return the lines with every model's row of counts as its baseline has them; a row is known by parameters and stimuli."""
    for path in sorted((ROOT / "reports" / "baselines").glob("*/*.json")):
        run = json.loads(path.read_text("utf-8"))
        found = Counter(record["verdict"] for record in run["records"])
        cells = [found[verdict] for verdict in ("supported", "refuted", "inconclusive", "not applicable")]
        key = f"| {run['subject']['parameters']:,} | {run['subject']['stimuli']} |"
        name = f"| `{run['subject']['model']}` |"
        of_model = [i for i, line in enumerate(lines) if key in line]
        for i in [i for i in of_model if lines[i].startswith(name)] or of_model:
            lines[i] = " ".join([lines[i].partition(key)[0] + key, *(f"{cell} |" for cell in cells)])
    return lines


def main(run: str) -> None:
    """Write the README anew."""
    held = ("gate", run, "--policy", "gate.toml")
    lines = counts(README.read_text("utf-8").splitlines())
    for first, made, words in (("model reference", report, ("show", run)), ("$ python -m reports gate", gate, held)):
        begin, end = block(lines, first)
        lines[begin:end] = made(lines[begin:end], said(*words))
    README.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
