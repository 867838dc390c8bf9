"""The driver: hands every job to Ray, shows how far they are, and brings each run home; Ray places, retries and waits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cluster.board import Board, Show
from cluster.home import Landed, RunError, land
from cluster.job import Job
from cluster.worker import Killed, judge

LOST = 3
"""Exit status of a job that no worker could finish, or whose run could not be brought home: pytest's for an internal error."""
NO_RUN = (2, 3, 4, 5)
"""pytest's exit statuses after which there is no run to speak of."""


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit status, and its run if there is one."""

    job: Job
    status: int
    run: Landed | None


def task(words: Sequence[str], number: int, board: Any) -> dict[str, Any]:
    """Judge a job on a worker and tell the board; what is returned are built-in types: status, files, last words and seconds."""
    ray = import_module("ray")
    attempt, begun = ray.get(board.begin.remote(number, ray.get_runtime_context().get_node_id(), os.getpid()))
    return judge(words, lambda *told: board.tell.remote(number, attempt, *told), begun=begun)


def judge_all(ray: Any, wanted: Sequence[Job], root: Path, show: Show, *, code: str, retries: int) -> list[Ended]:
    """Judge every job as a Ray task with the CPUs and GPUs that it asks for, and write each run as it comes home.

    A task whose worker or node is lost, or whose suite is killed by a signal, is run again by Ray, `retries` times at most, and goes on
    with what the lost one had recorded.
    """
    here = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()
    remote = ray.remote(task)
    waiting = {}
    for number, job in enumerate(wanted):
        asked = {"num_cpus": job.settings.cpus, "num_gpus": job.gpus, "max_retries": retries, "retry_exceptions": [Killed]}
        waiting[remote.options(name=job.label, **asked).remote(job.arguments(), number, board)] = number
    ended: dict[int, Ended] = {}
    try:
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=0.5)
            attempts = ray.get(board.read.remote())
            show.update(attempts, set(ended))
            for reference in done:
                number = waiting.pop(reference)
                tries = len(attempts.get(number, ())) or 1
                ended[number] = brought(ray, reference, wanted[number], root, show, code=code, attempts=tries)
                board.end.remote(number)
            show.update(attempts, set(ended))
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        show.clear()
    return [ended[number] for number in range(len(wanted))]


def brought(ray: Any, reference: Any, job: Job, root: Path, show: Show, *, code: str, attempts: int) -> Ended:
    """Fetch what a task returned, write its run, and say so in one line; or say in one line why there is none."""
    try:
        harvest = ray.get(reference)
    except ray.exceptions.RayError as error:
        show.say(f"error: {job.label}: no worker finished it in {attempts} attempts: {reason(error)}")
        return Ended(job, LOST, None)
    status = int(harvest["status"])
    if status in NO_RUN:
        show.say(f"error: {job.label}: exit status {status}: {complaint(harvest['output'])}")
        return Ended(job, status, None)
    try:
        landed = land(root, harvest["files"], job, code=code, status=status, attempts=attempts)
    except (RunError, OSError) as error:
        show.say(f"error: {error}")
        return Ended(job, LOST, None)
    records = next(content for name, content in harvest["files"].items() if name.endswith("/records.jsonl")).count(b"\n")
    show.say(f"{job.label}: {records} records in {harvest['seconds']:.0f} s, exit status {status}: {landed.folder}")
    return Ended(job, status, landed)


def reason(error: Exception) -> str:
    """Return the gist of one of Ray's errors in one line: the cause of a task's exception, else the first line."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0][:200] if lines else 'no message'}"


def complaint(output: str) -> str:
    """Return the line in which pytest says what is wrong: its own of a usage error, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [
        line.partition("rror: " if ": error: " in line else "ERROR: ")[2]
        for line in lines
        if line.startswith("ERROR: ") or ": error: " in line
    ]
    told = [line for line in named if line and not line.startswith("usage:")]
    return told[-1] if told else (lines[-1] if lines else "pytest said nothing")
