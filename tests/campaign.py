"""`python -m tests.campaign`: the real suite under every fault that a machine has, and bad input by the thousand, into reports/faults.md.

The suite judges some families of the smallest reference model, each time in new folders for runs and cache. A fault is survived if the run,
gone on with where it ended, gives the records of an undisturbed one; lost are records that stood when it struck and came out otherwise.
"""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from cases.parser import Parser
from cases.shown import shown
from reports.resume import standing
from reports.store import RECORDS
from tests.fuzz import KINDS
from tests.runs import ROOT, rows_of, written

MODEL = "reference-xxs"
CHOSEN = "separation or kinds or logit or self_steering or trajectory or (blackmail and happy)"
STATUSES = {
    0: "passed",
    1: "some claims not supported",
    2: "interrupted",
    4: "refused",
    -signal.SIGINT: "ended before the suite began",
    -signal.SIGKILL: "killed",
}

Rows = Sequence[dict[str, Any]]


@dataclass
class Fault:
    """A fault, how often it struck, how often the run ended as an undisturbed one, and what stood and was lost."""

    name: str
    tried: int = 0
    survived: int = 0
    stood: int = 0
    lost: int = 0
    notes: list[str] = field(default_factory=list)

    def count(self, same: bool, before: Rows = (), after: Rows = (), note: str = "") -> None:
        """Count one try: whether it was survived, the records that stood when the fault struck, those of the end, and how."""
        ended = {(r["family"], r["case"]): r for r in after}
        self.tried += 1
        self.survived += same
        self.stood += len(before)
        self.lost += sum(ended.get((r["family"], r["case"])) != r for r in before)
        if same and note and note not in self.notes:
            self.notes.append(note)


def prepared(limit: int | None) -> None:
    """Prepare a new process: Ctrl-C reaches it though a shell began this one in the background; no file grows beyond `limit` bytes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@dataclass(frozen=True)
class Place:
    """A folder for runs and one for the cache, which nothing else uses."""

    root: Path
    cache: Path

    def start(self, *words: str, model: str = MODEL, limit: int | None = None, **environment: str) -> subprocess.Popen[str]:
        """Start the suite; with `limit`, no file may grow beyond so many bytes."""
        fixed = {"XDG_CACHE_HOME": str(self.cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, "-m", "pytest", "benchmark", "-p", "no:cacheprovider", "-q", f"--model={model}", "-k", CHOSEN]
        return subprocess.Popen(
            [*command, f"--output-path={self.root}", *words], cwd=ROOT, env={**os.environ, **fixed, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=partial(prepared, limit),
        )  # fmt: skip

    def run(self, *words: str, **options: Any) -> tuple[int, str]:
        """Run the suite to its end; returns status and output."""
        process = self.start(*words, **options)
        said, _ = process.communicate()
        return process.returncode, said

    def lines(self) -> int:
        """Return how many lines of records there are."""
        return sum(path.read_bytes().count(b"\n") for path in self.root.glob(f"*/*/*/{RECORDS}"))

    def standing(self) -> Rows:
        """Return the records that stand in the only run's folder; none where there is no run yet."""
        folders = list(self.root.glob("*/*/*"))
        return standing(folders[0])[0] if folders and (folders[0] / RECORDS).exists() else []

    def ended(self) -> Rows:
        """Return the records of the only complete run; none where there is none."""
        found = written(self.root)
        return rows_of(next(iter(found.values()))) if len(found) == 1 else []


class Campaign:
    """Faults one after another in a scratch folder, beside the records of a run that nothing disturbed."""

    def __init__(self, scratch: Path) -> None:
        """Run the suite once undisturbed; `scratch` holds everything and can be deleted afterwards."""
        self.scratch, self.random, self.places = scratch, random.Random(0), 0
        self.plain = self.place()
        start = time.monotonic()
        status, said = self.plain.run()
        self.seconds, self.records = time.monotonic() - start, self.plain.ended()
        if not self.records:
            raise SystemExit(f"the undisturbed run ended with status {status}:\n{said}")

    def place(self) -> Place:
        """Return new folders."""
        self.places += 1
        return Place(self.scratch / str(self.places), self.scratch / f"{self.places}-cache")

    def same(self, rows: Rows) -> bool:
        """Say whether records are those of the undisturbed run, in any order."""

        def key(row: dict[str, Any]) -> tuple[str, str]:
            return row["family"], row["case"]

        return sorted(rows, key=key) == sorted(self.records, key=key)

    def gone_on(self, fault: Fault, place: Place, note: str) -> None:
        """Go on with what a fault left, and count it."""
        before = place.standing()
        place.run("--resume")
        after = place.ended()
        fault.count(self.same(after), before, after, note)

    def signalled(self, name: str, number: signal.Signals, times: int) -> Fault:
        """Send a signal at random moments, from the start of Python to the last record: after so many records and some time."""
        fault = Fault(name)
        for _ in range(times):
            place, after = self.place(), self.random.randrange(len(self.records))
            process = place.start()
            while place.lines() < after and process.poll() is None:
                time.sleep(0.02)
            # before the first record the model is loaded and the passages are read
            time.sleep(self.random.uniform(0.0, 0.05 if after else 0.5) * self.seconds)
            process.send_signal(number)
            process.communicate()
            self.gone_on(fault, place, STATUSES.get(process.returncode, f"status {process.returncode}"))
        return fault

    def full(self, times: int) -> Fault:
        """Let no file grow beyond a random size, in the folder of the run and in the cache."""
        fault = Fault("disk full (no file grows beyond a random size)")
        most = next(self.plain.root.glob(f"*/*/*/{RECORDS}")).stat().st_size
        for _ in range(times):
            place = self.place()
            status, said = place.run(limit=self.random.randrange(100, most))
            line = next((line for line in said.splitlines() if "what was recorded is kept" in line or "disk" in line.lower()), "")
            told = "one line and status" if line and "Traceback" not in said else "no clear line, status"
            self.gone_on(fault, place, f"{told} {status}")
        return fault

    def unwritable(self) -> Fault:
        """Give output paths that cannot be written; survived is what is refused in a line before anything is measured."""
        fault, place = Fault("read-only output"), self.place()
        (place.root.parent / "file").touch()
        for path in (place.root.parent / "file" / "runs", Path("/proc/runs")):
            status, said = Place(path, place.cache).run()
            lines = [line for line in said.splitlines() if "--output-path" in line]
            fault.count(status == 4 and len(lines) == 1 and "Traceback" not in said, note=f"refused in one line, status {status}")
        return fault

    def damaged(self, name: str, harm: Callable[[bytes], bytes], times: int) -> Fault:
        """Damage every entry of the cache before a run."""
        fault = Fault(name)
        for _ in range(times):
            place = self.place()
            shutil.copytree(self.plain.cache, place.cache)
            entries = [path for path in place.cache.rglob("*.safetensors") if path.stat().st_size]
            harmed = {path: harm(path.read_bytes()) for path in entries}
            for path, content in harmed.items():
                path.write_bytes(content)
            place.run()
            again = all(path.is_file() and path.read_bytes() != content for path, content in harmed.items())
            fault.count(bool(entries) and again and self.same(place.ended()), note=f"{len(entries)} entries each time, made again")
        return fault

    def cut(self, content: bytes) -> bytes:
        """Return the beginning of a file."""
        return content[: self.random.randrange(len(content))]

    def flip(self, content: bytes) -> bytes:
        """Return a file with one bit flipped."""
        at = self.random.randrange(len(content))
        return content[:at] + bytes([content[at] ^ (1 << self.random.randrange(8))]) + content[at + 1 :]

    def together(self, times: int) -> Fault:
        """Start two runs at once with the same folders."""
        fault = Fault("two runs at once, same output folder and cache")
        for _ in range(times):
            place = self.place()
            for process in [place.start(), place.start()]:
                process.communicate()
            done = [rows_of(path.parent) for path in place.root.glob("*/*/*/run.json")]
            fault.count(len(done) == 2 and all(map(self.same, done)), note="each in a folder of its own")
        return fault

    def resumed_twice(self, times: int) -> Fault:
        """Let two processes go on with the same run at once."""
        fault = Fault("two runs going on with the same run")
        for _ in range(times):
            place = self.place()
            process = place.start()
            while not place.standing() and process.poll() is None:
                time.sleep(0.1)
            process.kill()
            process.communicate()
            before = place.standing()
            (folder,) = place.root.glob("*/*/*")
            both = [place.start(f"--resume={folder}"), place.start(f"--resume={folder}")]
            said = [process.communicate()[0] for process in both]
            refused = sum(p.returncode == 4 and "another run is writing in it" in s for p, s in zip(both, said, strict=True))
            after = place.ended()
            fault.count(refused == 1 and self.same(after), before, after, "one of them refused in one line, status 4")
        return fault

    def workers(self) -> Fault:
        """Share the cases out between two workers of xdist."""
        fault, place = Fault("pytest-xdist with 2 workers"), self.place()
        place.run("-p", "xdist", "-n", "2")
        fault.count(self.same(place.ended()))
        return fault

    def scarce(self, sizes: Sequence[int]) -> Fault:
        """Let memory run out in batches of more tokens than that: records say so, figures may differ in rounding, verdicts not at all."""
        fault, worst = Fault(f"out of memory (batches of more than {', '.join(map(str, sizes))} tokens fail)"), 0.0
        for size in sizes:
            place = self.place()
            place.run("-p", "tests.scarce", SCARCE=str(size))
            rows = place.ended()
            after = {(r["family"], r["case"]): r for r in rows}
            halved = sum("batches halved to" in r["details"] for r in rows)
            pairs = [(r, after.get((r["family"], r["case"]), {"verdict": None, "value": None})) for r in self.records]
            gaps = [abs(a["value"] - b["value"]) for a, b in pairs if a["value"] is not None and b["value"] is not None]
            worst = max([worst, *gaps])
            agree = all(a["verdict"] == b["verdict"] and (a["value"] is None) == (b["value"] is None) for a, b in pairs)
            fault.count(halved > 0 and agree and max(gaps) < 1e-3, note=f"{halved} of {len(rows)} records say that batches were halved")
        if fault.survived == fault.tried:
            fault.notes.append(f"same verdicts; largest difference of a value {worst:.1e}")
        return fault

    def no_numbers(self) -> Fault:
        """Judge a model that yields NaN: survived if every case is an error that says so, and none is a verdict."""
        import torch

        from fixtures.calibration.controls import kept
        from fixtures.reference import load_reference

        model = load_reference(MODEL)[0]
        with torch.no_grad():
            next(model.get_decoder().layers[1].mlp.down_proj.parameters()).fill_(float("nan"))
        fault, place, folder = Fault("a model that yields NaN"), self.place(), self.scratch / "nan"
        kept(folder, lambda: model)
        place.run(model=str(folder))
        rows = place.ended()
        fault.count(
            len(rows) == len(self.records)
            and all(r["verdict"] == "error" or (a["verdict"] == r["verdict"] and r["value"] is None) for r, a in self.beside(rows)),
            note=f"{sum(r['verdict'] == 'error' for r in rows)} of {len(rows)} cases are errors that name the cause, none a verdict",
        )
        return fault

    def beside(self, rows: Rows) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return each record beside the undisturbed one of its case."""
        plain = {(r["family"], r["case"]): r for r in self.records}
        return [(r, plain[r["family"], r["case"]]) for r in rows]


def fuzzed() -> list[list[str]]:
    """Run the long fuzz and return a row per kind of input: tried, used, refused in one line."""
    command = [sys.executable, "-m", "pytest", "tests/test_bad_input.py", "-q", "-s", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the fuzz found something:\n{done.stdout[-4000:]}")
    found = re.findall(r"^(.+): (\d+) tried, (\d+) used, (\d+) refused in one line$", done.stdout, re.M)
    most = {kind: row for kind, *row in sorted(found, key=lambda row: int(row[1]))}
    if lacking := set(KINDS) - set(most):
        raise SystemExit(f"the fuzz tells nothing of {', '.join(sorted(lacking))}")
    return [[kind, *most[kind]] for kind in KINDS]


def report(campaign: Campaign, faults: Sequence[Fault], fuzz: Sequence[Sequence[str]]) -> str:
    """Return both tables as Markdown."""
    rows = [[f.name, f.tried, f.survived, f.stood, f.lost, "; ".join(f.notes)] for f in faults]
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    told = [
        "# Faults and bad input",
        f"Written by `make faults` on {datetime.now(UTC):%Y-%m-%d} at {commit}. The suite judges {len(campaign.records)} cases of "
        f"`{MODEL}` ({campaign.seconds:.0f} s undisturbed), with folders of its own for every try. *Survived*: the run, gone on with "
        "(`--resume`) where the fault ended it, has the records of the undisturbed run, to the last digit unless a remark says "
        "otherwise. *Stood*: records on the disk when the fault struck; *lost*: those that were gone or other at the end.",
        tabulate(rows, ["fault", "tried", "survived", "stood", "lost", "remarks"], tablefmt="github"),
        "## Fuzz",
        "Mutated options, files and vectors (`tests/test_bad_input.py`): each is used, and then what is read obeys its rules, or "
        "refused in one printable line; a traceback, a second line or a wrong verdict would have ended the fuzz.",
        tabulate([list(row) for row in fuzz], ["input", "tried", "used", "refused in one line"], tablefmt="github"),
    ]
    return "\n\n".join(told) + "\n"


def main(words: Sequence[str]) -> int:
    """Run the campaign and write its report; 0 if everything was survived and nothing lost, else 1."""
    parser = Parser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "faults.md")
    asked = parser.parse_args(words)
    if not asked.output.parent.is_dir() or asked.output.is_dir():
        parser.error(f"--output {shown(str(asked.output))}: accepted: a file in a folder that is there")
    faults: list[Fault] = []
    with tempfile.TemporaryDirectory() as scratch:
        found = Campaign(Path(scratch))
        steps: list[Callable[[], Fault]] = [
            partial(found.signalled, "killed (SIGKILL) at a random moment", signal.SIGKILL, 20),
            partial(found.signalled, "Ctrl-C (SIGINT) at a random moment", signal.SIGINT, 5),
            partial(found.full, 5),
            found.unwritable,
            partial(found.damaged, "every cache entry cut short", found.cut, 5),
            partial(found.damaged, "a bit flipped in every cache entry", found.flip, 5),
            partial(found.together, 3),
            partial(found.resumed_twice, 3),
            found.workers,
            partial(found.scarce, (384, 128, 48)),
            found.no_numbers,
        ]
        for step in steps:
            faults.append(step())
            sys.stdout.write(f"{faults[-1]}\n")
            sys.stdout.flush()
        # the faults first: a fuzz that finds something ends with what it found, and takes no table away
        asked.output.write_text(report(found, faults, ()), "utf-8")
        asked.output.write_text(report(found, faults, fuzzed()), "utf-8")
    return int(any(f.survived < f.tried or f.lost for f in faults))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
