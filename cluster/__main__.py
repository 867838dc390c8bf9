"""`python -m cluster --model A --model B ...`: judge many models on many machines, and show them in one leaderboard."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cases.parser import USAGE, Parser
from cluster.board import Show
from cluster.driver import Ended, complaint, judge_all
from cluster.home import missing
from cluster.job import DEVICES, Job, Settings, jobs
from cluster.parcel import pack
from cluster.session import ClusterError, largest, session
from reports import __main__ as commands
from reports.details import table
from reports.render import family_rows
from reports.store import RUNS, read_run

INTERRUPTED = 2
STATUS = """\
Exit status: the worst, that is the highest, of the runs' own: 0 where on every model something was supported and nothing refuted, 1 where
on any something was refuted, broke or nothing was supported; 2 interrupted; 3 a job that no worker could finish; 4 wrong use, a model that
cannot be judged; 5 no claim chosen. Runs that were there already count with the status that they had.

Every machine needs the same versions of Python, Ray and this suite's dependencies; the suite's own code travels from here, and so the
machines need no checkout. Models come from each machine's own hub cache, or from a folder that all see at the same path."""


def number(option: str, accepted: str, least: float, kind: Callable[[str], float]) -> Callable[[str], float]:
    """Return a converter that takes a number of at least `least`, and otherwise names option, value and what is accepted."""

    def convert(value: str) -> float:
        try:
            found = kind(value)
        except ValueError:
            found = float("nan")
        if not least <= found < float("inf"):
            raise argparse.ArgumentTypeError(f"{option} {value}: accepted: {accepted}")
        return found

    return convert


def address(value: str) -> str:
    """Return `auto` or HOST:PORT."""
    if not re.fullmatch(r"auto|[^:/\s]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", value):
        raise argparse.ArgumentTypeError(f"--address {value}: accepted: auto, HOST:PORT, or none for a cluster of this machine alone")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    made = Parser(
        prog="python -m cluster", description=__doc__.split(": ", 1)[1], epilog=STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = made.add_argument
    option(
        "--model",
        action="append",
        required=True,
        metavar="NAME",
        help="hub name, name@revision, local folder or reference model; repeatable",
    )
    option("--device", action="append", choices=DEVICES, help="repeatable (default: auto: cuda where --gpus asks for some, else cpu)")
    option("--dtype", action="append", metavar="DTYPE", help="as of pytest benchmark; repeatable (default: auto)")
    option(
        "--address",
        type=address,
        metavar="auto|HOST:PORT",
        help="a running Ray cluster (default: one of this machine alone, started and ended here)",
    )
    option(
        "--gpus",
        type=number("--gpus", "a number of 0 or more", 0, float),
        default=0.0,
        metavar="N",
        help="GPUs for each model (default: 0)",
    )
    option(
        "--cpus", type=number("--cpus", "a number of 1 or more", 1, int), default=1, metavar="N", help="CPUs for each model (default: 1)"
    )
    option(
        "--retries",
        type=number("--retries", "0 or more", 0, int),
        default=3,
        metavar="N",
        help="new attempts after a lost worker (default: 3)",
    )
    option("--profile", default="quick", help="as of pytest benchmark (default: quick)")
    option("--seed", default="0", metavar="N", help="as of pytest benchmark (default: 0)")
    option("--limit", default="none", metavar="N", help="as of pytest benchmark (default: none)")
    option("-k", dest="chosen", metavar="EXPR", help="only cases whose names match, as of pytest; such runs are incomplete")
    option("--output-path", type=Path, default=RUNS, metavar="DIR", help="where runs are written and looked for (default: reports/runs)")
    option(
        "more",
        nargs="*",
        metavar="-- OPTION",
        help="after --: further options of pytest benchmark, such as --layer 7 or --trust-remote-code",
    )
    return made


def cases_of(parcel: Path, job: Job) -> int:
    """Return how many cases the suite chooses for a job; raises ClusterError with the suite's own complaint about its options."""
    command = [sys.executable, "-m", "pytest", "benchmark", "--collect-only", "-q", "--color=no", "-p", "no:cacheprovider", *job.common()]
    # what is compiled here shall not travel
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=parcel, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 5:
        raise ClusterError(
            f"-k {job.settings.chosen}: no case of any claim matches; accepted: an expression such as separation or 'fear or flip'"
        )
    if done.returncode:
        raise ClusterError(complaint(done.stdout + done.stderr))
    return sum("::" in line for line in done.stdout.splitlines())


def asked_for(arguments: argparse.Namespace) -> list[Job]:
    """Return the jobs that the options ask for; raises ClusterError for options that no job can have."""
    if arguments.output_path.exists() and not arguments.output_path.is_dir():
        raise ClusterError(f"--output-path {arguments.output_path}: that is a file; accepted: a folder, made where it does not exist")
    names = ("profile", "seed", "chosen", "limit", "cpus", "gpus")
    settings = Settings(**{name: getattr(arguments, name) for name in names}, more=tuple(arguments.more))
    try:
        return jobs(arguments.model, arguments.device or ["auto"], arguments.dtype or ["auto"], settings)
    except ValueError as error:
        raise ClusterError(str(error)) from error


def show_board(ended: Sequence[Ended]) -> None:
    """Print all runs in one leaderboard."""
    folders = [str(end.run.folder) for end in ended if end.run]
    if not folders:
        return
    sys.stdout.write("\n")
    sys.stdout.flush()
    if "leaderboard" in commands.COMMANDS:
        commands.main(["leaderboard", *folders])
        return
    for end in ended:
        if end.run:
            sys.stdout.write(f"{end.job.label}\n{table(family_rows(read_run(end.run.folder)), 'simple')}\n\n")


def main(words: Sequence[str]) -> int:
    """Judge what is missing, show everything, and return the worst of the runs' exit statuses."""
    arguments = parser().parse_args(words)
    try:
        wanted = asked_for(arguments)
        with tempfile.TemporaryDirectory(prefix="suite-") as folder:
            code = pack(parcel := Path(folder) / "suite")
            total = max(cases_of(parcel, job) for job in {tuple(job.common()): job for job in wanted}.values())
            there, rest = missing(arguments.output_path, wanted, code)
            show = Show(sys.stdout, [job.label for job in rest], total, arguments.retries)
            for job, run in there.items():
                show.say(f"{job.label}: judged already: {run.folder}")
            ended = {job: Ended(job, run.status, run) for job, run in there.items()}
            if rest:
                ended |= judge_rest(arguments, rest, parcel, show, code)
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return USAGE
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the same command goes on with what is missing\n")
        return INTERRUPTED
    show_board([ended[job] for job in wanted])
    return max(end.status for end in ended.values())


def judge_rest(arguments: argparse.Namespace, rest: Sequence[Job], parcel: Path, show: Show, code: str) -> dict[Job, Ended]:
    """Judge jobs on the cluster and return how each ended; raises ClusterError where no machine can ever take one."""
    with session(arguments.address, parcel, retries=arguments.retries) as ray:
        most = largest(ray)
        for option, kind, asked in (("--cpus", "CPU", arguments.cpus), ("--gpus", "GPU", arguments.gpus)):
            if asked > most[kind]:
                raise ClusterError(f"{option} {asked:g}: no machine has more than {most[kind]:g}; accepted: what one machine has")
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus, gpus = (sum(node.get(kind, 0) for node in alive) for kind in ("CPU", "GPU"))
        show.say(f"cluster: nodes {len(alive)}, CPUs {cpus:g}, GPUs {gpus:g}; to judge: {len(rest)}, {show.total} cases each")
        ended = judge_all(ray, rest, arguments.output_path, show, code=code, retries=arguments.retries)
    return {end.job: end for end in ended}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
