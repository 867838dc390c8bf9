"""Collects the records of a run as they are made, writes the run, prints the summary and sets the exit status."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cases.claims import load_claims
from reports.figures import figures
from reports.record import SCHEMA, Run, installed_versions, parse_record, suite_version
from reports.render import markdown, terminal
from reports.resume import Begun, ResumeError, Resumption, asked, begin, chosen, settled, taken_over
from reports.scores import exit_status
from reports.store import RUNS, SAMPLES, append, append_record, write_run, write_whole

OPTIONS = ("seed", "profile", "layer", "batch_size", "limit", "norms", "emotions", "passages", "vectors", "sweep_layers")

RECALL = "emotion-steering-recall"
"""The plugin that the measuring side asks, in plain dicts, for a record that a resumed run holds already."""


class Collector:
    """Holds the records of every model of this session and the folders that they are appended to."""

    def __init__(self, config: pytest.Config) -> None:
        """Take the options; folders are made with the first record."""
        self.config = config
        self.root = Path(config.getoption("--output-path") or RUNS)
        self.start, self.clock = datetime.now(UTC), time.monotonic()
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.subjects: dict[str, dict[str, Any]] = {}
        self.folders: dict[str, Path] = {}
        self.runs: dict[str, Run] = {}
        self.begun: dict[str, Begun] = {}
        self.resumption = Resumption([])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find the runs to go on with; refuse, with one line, a folder that cannot be resumed or written."""
        if self.config.option.collectonly:
            return
        place = next(path for path in (self.root.absolute(), *self.root.absolute().parents) if path.exists())
        if not os.access(place, os.W_OK):
            raise pytest.UsageError(f"--output-path {self.root}: {place} cannot be written; accepted: a folder that can")
        if self.config.getoption("--resume") and self.config.getoption("--tensor-parallel"):
            raise pytest.UsageError("--resume with --tensor-parallel: accepted: one of the two")
        try:
            begun = chosen(self.config.getoption("--resume"), self.root, self.config.option)
        except ResumeError as error:
            raise pytest.UsageError(str(error)) from error
        self.resumption = Resumption(begun)
        self.config.pluginmanager.register(self.resumption, RECALL)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker which runs are gone on with."""
        node.workerinput["emotion_steering_resumed"] = [str(run.folder) for run in self.resumption.begun]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Append a test's record to its run, and leave short properties in its place for JUnit."""
        found: dict[str, Any] = {k: v for k, v in report.user_properties if k in ("record", "subject", "samples")}
        if "record" not in found:
            return
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self.keep(found["record"], found["subject"], found.get("samples"))
        # JUnit takes the properties of the last phase, so they are shortened in every phase
        row = found["record"]
        net = row["net"] or {}
        short = [(k, row[k]) for k in ("claim", "case", "verdict", "value", "skill", "reason")] + [("net", net.get("value"))]
        report.user_properties = [p for p in report.user_properties if p[0] not in found] + [(k, v) for k, v in short if v is not None]

    def keep(self, row: dict[str, Any], subject: dict[str, Any], samples: list[dict[str, Any]] | None) -> None:
        """Append a record to the run of its model."""
        # two local folders may share a name; their weights do not
        name = f"{subject['model']} {subject.get('revision', '')}".strip()
        parse_record(row)
        self.subjects[name] = {**self.subjects.get(name, {}), **subject}
        try:
            if name not in self.folders:
                self.begun[name] = self.resumption.run_of(subject) or self.begin(subject)
                self.folders[name] = self.begun[name].folder
            self.rows.setdefault(name, []).append(row)
            if self.begun[name].rows.get((row["family"], row["case"])) == row:
                return
            # a record counts; samples without theirs are dropped by a resumed run
            if samples:
                append(self.folders[name] / SAMPLES, samples)
            append_record(self.folders[name], row)
        except OSError as error:
            pytest.exit(stopped(self.folders.get(name, self.root), error), returncode=1)

    def begin(self, subject: dict[str, Any]) -> Begun:
        """Return a new run of a subject in a folder of its own."""
        options = self.config.option
        names = {asked(options, name)["model"]: name for name in options.model}
        asking = asked(options, names.get(subject["model"], subject["model"]))
        return begin(self.root, subject, self.start.strftime("%Y%m%dT%H%M%SZ"), self.start.isoformat(timespec="seconds"), asking)

    def lacking(self, rows: list[dict[str, Any]]) -> tuple[str, ...]:
        """Return why the records are not a complete run; empty if they are."""
        wanted = {(claim.family, case.name) for claim in load_claims().values() for case in claim.cases}
        missing = wanted - {(row["family"], row["case"]) for row in rows}
        broken = [f"{row['family']}/{row['case']}" for row in rows if row["verdict"] == "error"]
        limit = self.config.getoption("--limit")
        reasons = [f"{len(missing)} of {len(wanted)} cases were not run"] if missing else []
        reasons += [f"--limit {limit}"] if limit != "none" else []
        return tuple(reasons + ([f"{len(broken)} cases broke: {', '.join(broken)}"] if broken else []))

    def finish(self) -> None:
        """Write each model's run and report."""
        for name, rows in self.rows.items():
            begun = self.begun[name]
            rows, unseen = settled(rows, begun)
            reasons = (*self.lacking(rows), *unseen)
            run = Run(
                schema=SCHEMA,
                suite=suite_version(),
                subject=self.subjects[name],
                options={k: getattr(self.config.option, k) and str(Path(str(getattr(self.config.option, k))).name) for k in OPTIONS},
                versions=installed_versions(),
                start=begun.document["start"],
                duration=round(begun.elapsed() + time.monotonic() - self.clock, 1),
                complete=not reasons,
                incomplete_because=reasons,
                records=tuple(parse_record(row) for row in rows),
            )
            self.runs[name] = run
            write_run(self.folders[name], run)
            drawn = figures(run)
            for figure, text in drawn.items():
                (self.folders[name] / "figures").mkdir(exist_ok=True)
                write_whole(self.folders[name] / "figures" / f"{figure}.svg", text)
            write_whole(self.folders[name] / "report.md", markdown(run, drawn))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write each model's run and report; set the exit status that the verdicts call for."""
        try:
            self.finish()
        except OSError as error:
            self.config.get_terminal_writer().line(f"\n{stopped(self.root, error)}")
            session.exitstatus = 1
            return
        finally:
            for begun in (*self.begun.values(), *self.resumption.begun):
                begun.lock.release()
        if self.runs and exitstatus in (0, 1):
            session.exitstatus = max(int(exitstatus), *(exit_status(list(run.records)) for run in self.runs.values()))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print each run's table and where its files are."""
        for line in resuming(self.config):
            terminalreporter.write_line(line)
        for name, run in self.runs.items():
            terminalreporter.section(f"emotion steering: {run.subject['model']}", sep="=")
            terminalreporter.write_line(terminal(run))
            if exported := self.config.getoption("--export-vectors"):
                terminalreporter.write_line(f"\nvectors: {exported}")
            terminalreporter.write_line(f"\nreport: {self.folders[name] / 'report.md'}\nrecords: {self.folders[name] / 'run.json'}")


class Silent:
    """Stands for the collector in the processes that share a model with the one that reports."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """End well whatever the verdicts, which are the reporting process's to tell: torchrun stops all when one fails."""
        session.exitstatus = 0 if exitstatus == 1 else exitstatus


def reporting_rank() -> int:
    """Return which of the processes that share a model this is, as torchrun numbers them: 0 reports, and so does one alone."""
    return int(os.environ.get("RANK", "0")) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0


def stopped(folder: Path, error: OSError) -> str:
    """Return the line that says why nothing more can be written, and how to go on."""
    return f"{folder}: {error.strerror or error}; what was recorded is kept, and --resume goes on with it"


def pytest_configure(config: pytest.Config) -> None:
    """Collect on the controller only, and only where the options of this suite are known."""
    if reporting_rank():
        # of the processes that share a model (torchrun) one reports; what the others say would be the same again
        config.pluginmanager.register(Silent(), "emotion-steering-silent")
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # the terminal's reporter is made after this
    elif hasattr(config, "workerinput"):
        folders = config.workerinput.get("emotion_steering_resumed", ())
        config.pluginmanager.register(Resumption([taken_over(Path(folder)) for folder in folders]), RECALL)
    elif hasattr(config.option, "profile"):
        config.pluginmanager.register(Collector(config), "emotion-steering-collector")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name what will be judged."""
    names = ", ".join(Path(name).name if Path(name).is_dir() else name for name in config.option.model)
    o = config.option
    lines = [f"judging: {names}; profile {o.profile}, seed {o.seed}, device {o.device}, dtype {o.dtype}"]
    return [*lines, *resuming(config)]


def resuming(config: pytest.Config) -> list[str]:
    """Return the lines that say which runs are gone on with, and what of them does not stand."""
    if config.option.collectonly or not config.option.resume:
        return []
    begun: list[Begun] = getattr(config.pluginmanager.get_plugin(RECALL), "begun", [])
    dropped = [f"; {run.dropped} cut short or changed since were measured again" if run.dropped else "" for run in begun]
    found = [f"resumed {run.folder}: {len(run.rows)} records stood{rest}" for run, rest in zip(begun, dropped, strict=True)]
    return found or ["resumed nothing: there is no incomplete run of these options; a new one began"]
