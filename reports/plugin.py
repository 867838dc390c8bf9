"""Collects the records of a run as they are made, writes the run, prints the summary and sets the exit status."""

from __future__ import annotations

import os
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reports.gate import Outcome

from cases.claims import every_case
from cases.shown import called, printable, shown
from reports.command import CommandError
from reports.figures import drawings
from reports.html import write_page
from reports.policy import read_policy
from reports.record import SCHEMA, RecordError, Run, installed_versions, parse_record, suite_version, unsound
from reports.render import markdown, terminal
from reports.resume import Begun, ResumeError, Resumption, asked, begin, chosen, settled, taken_over
from reports.scores import exit_status
from reports.store import RUNS, SAMPLES, append, append_record, read_baselines, write_run, write_whole

OPTIONS = ("seed", "profile", "layer", "batch_size", "limit", "norms", "emotions", "passages", "vectors", "sweep_layers")

COLLECTOR, RECALL = "emotion-steering-collector", "emotion-steering-recall"
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
        if config.getoption("--baseline") and not config.getoption("--gate"):
            raise pytest.UsageError(f"--baseline {shown(config.getoption('--baseline')[0])}: accepted: together with --gate POLICY")
        self.policies = [read_policy(name, "--gate") for name in dict.fromkeys(config.getoption("--gate") or ())]
        # a file that is not there is an outcome of the gate, one that is no run is a fault
        self.baselines = read_baselines(config.getoption("--baseline"))
        self.outcomes: list[Outcome] = []
        self.strays: list[str] = []
        self.updated: list[str] = []
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
            self.strays += [report.nodeid] if report.failed else []
            return
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self.check(report, found)
            folder = self.keep(found["record"], found["subject"], found.get("samples"))
            add_section = getattr(report.longrepr, "addsection", None)
            if report.failed and add_section:
                add_section("detail", show_command(folder, found["record"]))
        # JUnit takes the properties of the last phase, so they are shortened in every phase
        row = found["record"]
        net = row["net"] or {}
        short = [(k, row[k]) for k in ("claim", "case", "verdict", "value", "skill", "reason")] + [("net", net.get("value"))]
        report.user_properties = [p for p in report.user_properties if p[0] not in found] + [(k, v) for k, v in short if v is not None]

    @staticmethod
    def check(report: pytest.TestReport, found: dict[str, Any]) -> None:
        """Put an error in the place of a record that breaks the rules, and fail its test: the run goes on, and nothing of it is lost."""
        try:
            parse_record(found["record"])
        except RecordError as why:
            found["record"] = unsound(found["record"], why)
            found.pop("samples", None)
            vars(report).pop("wasxfail", None)
            report.outcome, report.longrepr = "failed", f"{found['record']['family']}/{found['record']['case']}: {why}"

    def keep(self, row: dict[str, Any], subject: dict[str, Any], samples: list[dict[str, Any]] | None) -> Path:
        """Append a record to the run of its model and return the run's folder."""
        # two local folders may share a name; their weights do not
        name = f"{subject['model']} {subject.get('revision', '')}".strip()
        self.subjects[name] = {**self.subjects.get(name, {}), **subject}
        try:
            if name not in self.folders:
                self.begun[name] = self.resumption.run_of(subject) or self.begin(subject)
                self.folders[name] = self.begun[name].folder
            self.rows.setdefault(name, []).append(row)
            if self.begun[name].rows.get((row["family"], row["case"])) == row:
                return self.folders[name]
            # a record counts; samples without theirs are dropped by a resumed run
            if samples:
                append(self.folders[name] / SAMPLES, samples)
            append_record(self.folders[name], row)
        except OSError as error:
            pytest.exit(stopped(self.folders.get(name, self.root), error), returncode=1)
        return self.folders[name]

    def begin(self, subject: dict[str, Any]) -> Begun:
        """Return a new run of a subject in a folder of its own."""
        options = self.config.option
        names = {asked(options, name)["model"]: name for name in options.model}
        asking = asked(options, names.get(subject["model"], subject["model"]))
        return begin(self.root, subject, self.start.strftime("%Y%m%dT%H%M%SZ"), self.start.isoformat(timespec="seconds"), asking)

    def lacking(self, rows: list[dict[str, Any]]) -> tuple[str, ...]:
        """Return why the records are not a complete run; empty if they are."""
        wanted = set(every_case())
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
                options={k: getattr(self.config.option, k) and printable(Path(str(getattr(self.config.option, k))).name) for k in OPTIONS},
                versions=installed_versions(),
                start=begun.document["start"],
                duration=round(begun.elapsed() + time.monotonic() - self.clock, 1),
                complete=not reasons,
                incomplete_because=reasons,
                records=tuple(parse_record(row) for row in rows),
            )
            self.runs[name] = run
            write_run(self.folders[name], run)
            made = drawn, failed = drawings(run)
            for figure, (_, text) in drawn.items():
                (self.folders[name] / "figures").mkdir(exist_ok=True)
                write_whole(self.folders[name] / "figures" / f"{figure}.svg", text)
            write_whole(self.folders[name] / "report.md", markdown(run, drawn, failed))
            write_page(run, self.folders[name], made=made)

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
        if exitstatus in (0, 1) and not self.config.option.collectonly:
            session.exitstatus = self.decided(int(exitstatus))

    def decided(self, exitstatus: int) -> int:
        """Hold the runs to the gate, update baselines, and return the exit status: the gate's alone where there is one."""
        # scipy, on which statistics rest, is not needed for --help
        from reports.baseline import write_baseline
        from reports.gate import INCOMPARABLE, STATUS, worst
        from reports.gating import gate_json, gate_runs

        runs = list(self.runs.values())
        if self.policies:
            self.outcomes = gate_runs(runs, self.policies, self.baselines)
            each = len(self.policies)
            for i, name in enumerate(self.runs):
                write_whole(self.folders[name] / "gate.json", gate_json(self.outcomes[i * each : (i + 1) * each]))
            status = worst(self.outcomes) if runs else STATUS[INCOMPARABLE]
            # what is no claim is not the gate's to judge
            status = status or int(bool(self.strays))
        else:
            status = max(exitstatus, *(exit_status(list(run.records)) for run in runs)) if runs else exitstatus
        if self.config.getoption("--update-baseline"):
            for run in runs:
                try:
                    self.updated.append(f"baseline: {write_baseline(run)}")
                except CommandError as error:
                    self.updated.append(f"baseline of {run.subject['model']} left as it was: {error}")
                    status = status or 1
        return status

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print each run's table and where its files are."""
        for line in resuming(self.config):
            terminalreporter.write_line(line)
        for name, run in self.runs.items():
            terminalreporter.section(f"emotion steering: {run.subject['model']}", sep="=")
            terminalreporter.write_line(terminal(run))
            if exported := self.config.getoption("--export-vectors"):
                terminalreporter.write_line(f"\nvectors: {exported}")
            for r in run.records:
                if r.verdict in ("refuted", "error"):
                    terminalreporter.write_line(
                        f"{r.verdict} {r.id}: {show_command(self.folders[name], {'family': r.family, 'case': r.case})}"
                    )
            files = {"report": "report.md", "page": "report.html", "records": "run.json"}
            terminalreporter.write_line("\n" + "\n".join(f"{what}: {near(self.folders[name] / file)}" for what, file in files.items()))
        for outcome in self.outcomes:
            terminalreporter.section("gate", sep="=")
            terminalreporter.write_line(outcome.text)
        if self.policies and not self.runs:
            terminalreporter.write_line("gate: no claim was judged, so that nothing can be said of a model")
        if self.outcomes and self.strays:
            terminalreporter.write_line(
                f"beside the gate, {len(self.strays)} tests failed that are no claims: {', '.join(self.strays[:3])}"
            )
        for line in self.updated:
            terminalreporter.write_line(line)


def show_command(folder: Path, row: dict[str, Any]) -> str:
    """Return the command that shows a record's detail."""
    return f"python -m reports show {shlex.quote(str(near(folder)))} {row['family']}/{row['case']}"


def near(path: Path) -> Path:
    """Return a path as seen from the working folder, if it lies in it; what was written as a full path stays one."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


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
        try:
            collector = Collector(config)
        except (CommandError, RecordError) as error:
            raise pytest.UsageError(str(error)) from error
        config.pluginmanager.register(collector, COLLECTOR)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name what will be judged."""
    names = ", ".join(map(called, config.option.model))
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
    used = getattr(config.pluginmanager.get_plugin(COLLECTOR), "begun", {})
    others = {run.document["subject"].get("model"): run.folder for run in used.values()}
    for place, run in enumerate(begun):
        model = run.document["subject"].get("model")
        if model in others and run not in used.values():
            found[place] = (
                f"{run.folder}: not gone on with, its weights, device or packages are other ones; measured anew in {others[model]}"
            )
    return found or ["resumed nothing: there is no incomplete run of these options; a new one began"]
