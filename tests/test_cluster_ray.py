"""Slow self-tests of judging many models on Ray: a cluster of this machine, and one of two nodes that loses a worker or a node."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cluster.home import JOB
from tests.runs import ROOT, rows_of, written

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install '.[cluster]'"),
    # Ray's own, not ours
    pytest.mark.filterwarnings("ignore"),
]
MODELS = ("reference-xs", "reference-s")
CHOSEN = ("--model", MODELS[0], "--model", MODELS[1], "-k", "separation or geometry")
RECORDS = 8
LOG = os.environ.get("CLUSTER_LOG")
"""A folder in which what the terminal showed is kept."""


@pytest.fixture(scope="module", autouse=True)
def _on_loopback() -> None:
    """Ray reads these when it is imported."""
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"})


class Driver:
    """`python -m cluster` on a terminal of its own, and all that it shows there."""

    def __init__(self, *words: str) -> None:
        ours, theirs = pty.openpty()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "160", "LINES": "24"}
        command = [sys.executable, "-W", "error", "-m", "cluster", *words]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self.text = ""
        self.reader = threading.Thread(target=self.read, args=(ours,), daemon=True)
        self.reader.start()

    def read(self, terminal: int) -> None:
        while True:
            try:
                found = os.read(terminal, 4096)
            except OSError:  # nobody writes there any more
                break
            self.text += found.decode("utf-8", "replace").replace("\r\n", "\n")
        os.close(terminal)

    def until(self, condition: Callable[[str], Any], seconds: float = 240) -> Any:
        """Wait until the text fulfils the condition and return what that gives."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if found := condition(self.text):
                return found
            time.sleep(0.05)
        raise AssertionError(self.text)

    def ended(self, name: str, seconds: float = 400) -> int:
        """Wait for the end and return the exit status."""
        status = self.process.wait(seconds)
        self.reader.join(10)
        if LOG:
            (Path(LOG) / f"{name}.txt").write_text(self.text, "utf-8")
        return status


def in_work(model: str) -> Callable[[str], Any]:
    """Whether a model has some of its records and not all: mid-run."""
    return re.compile(rf"{model} cpu-auto: \w+, [1-{RECORDS - 1}] of {RECORDS} records").search


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A Ray cluster of two nodes with one CPU each, on the loopback interface."""
    node = {"num_cpus": 1, "object_store_memory": 1 << 27, "include_dashboard": False}
    cluster = import_module("ray.cluster_utils").Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**{k: v for k, v in node.items() if k != "include_dashboard"})
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Driver, set[str]]:
    """Both models judged on a cluster that the command starts by itself, and the addresses at which that cluster listened."""
    root = tmp_path_factory.mktemp("undisturbed")
    driver = Driver(*CHOSEN, "--output-path", str(root))
    driver.until(in_work(MODELS[0]))
    addresses = listening(driver.process.pid)
    assert driver.ended("undisturbed") in (0, 1), driver.text
    return root, driver, addresses


def listening(process: int) -> set[str]:
    """The addresses at which a process and all that it started listen."""
    import_module("ray")  # it brings psutil
    psutil = import_module("psutil")
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    found = set()
    for member in family:
        try:
            found |= {c.laddr.ip for c in member.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.NoSuchProcess:
            continue
    return found


def same_but_for_times(one: Path, other: Path) -> None:
    """Every record of the two runs is the same, and so is all else but when and how long, and the commit, which may move meanwhile."""
    assert rows_of(one) == rows_of(other)
    ours, theirs = (json.loads((folder / "run.json").read_text("utf-8")) for folder in (one, other))
    for run in (ours, theirs):
        del run["start"], run["duration"], run["suite"]
    assert ours == theirs


def test_a_cluster_of_this_machine_judges_every_model_once_and_is_gone_afterwards(undisturbed: Any) -> None:
    root, driver, addresses = undisturbed
    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert set(written(root)) == set(MODELS)
    assert len(list(root.glob("*/*/*/run.json"))) == 2
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []
    runs = [json.loads((folder / "run.json").read_text("utf-8")) for folder in written(root).values()]
    assert all(len(run["records"]) == RECORDS for run in runs)
    # the copy that travelled knows the commit
    assert all(run["suite"]["commit"] for run in runs)
    assert "Traceback" not in driver.text
    assert list(Path("/tmp").glob(f"ray-*/session_*_{driver.process.pid}")) == []


def test_what_is_there_already_is_not_judged_again(undisturbed: Any) -> None:
    root, first, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    again = Driver(*CHOSEN, "--output-path", str(root))
    assert again.ended("again") == first.process.returncode
    assert again.text.count("judged already") == 2
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_worker_that_is_killed_in_mid_run_costs_nothing_and_nothing_is_judged_twice(undisturbed: Any, tmp_path: Path) -> None:
    with two_nodes() as cluster:
        driver = Driver(*CHOSEN, "--address", cluster.address, "--output-path", str(tmp_path))
        driver.until(in_work(MODELS[0]))
        worker = int(re.findall(rf"{MODELS[0]} cpu-auto: judging on node \w+, process (\d+)", driver.text)[-1])
        os.kill(worker, signal.SIGKILL)
        status = driver.ended("killed-worker")
    assert_whole(undisturbed, tmp_path, driver, status)
    attempts = {name: json.loads((folder / JOB).read_text("utf-8"))["attempts"] for name, folder in written(tmp_path).items()}
    assert attempts == {MODELS[0]: 2, MODELS[1]: 1}


def test_a_node_that_is_lost_in_mid_run_costs_nothing_and_nothing_is_judged_twice(undisturbed: Any, tmp_path: Path) -> None:
    with two_nodes() as cluster:
        other = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
        driver = Driver(*CHOSEN, "--address", cluster.address, "--output-path", str(tmp_path))
        found = driver.until(re.compile(rf"(reference-\w+) cpu-auto: judging on node {other.node_id[:6]}").search)
        driver.until(in_work(found[1]))
        cluster.remove_node(other, allow_graceful=False)
        status = driver.ended("lost-node")
    assert_whole(undisturbed, tmp_path, driver, status)


def assert_whole(undisturbed: Any, root: Path, driver: Driver, status: int) -> None:
    """One run per model, the same as undisturbed; one loss told; the same exit status."""
    calm, first, _ = undisturbed
    assert status == first.process.returncode, driver.text
    # the other worker goes on with what was recorded, but for what was made in the last half second
    found = re.findall(rf"worker lost after ([1-{RECORDS}]) of {RECORDS} records; going on with (\d) of them on node", driver.text)
    assert len(found) == 1
    assert int(found[0][0]) - 1 <= int(found[0][1]) <= int(found[0][0])
    assert len(list(root.glob("*/*/*/run.json"))) == 2
    assert set(written(root)) == set(MODELS)
    for name, folder in written(root).items():
        same_but_for_times(folder, written(calm)[name])
    assert "Traceback" not in driver.text
    assert "raylet" not in driver.text


def test_an_interrupted_command_leaves_no_run_no_process_and_no_folder(tmp_path: Path) -> None:
    driver = Driver("--model", MODELS[0], "-k", "separation", "--output-path", str(tmp_path))
    driver.until(re.compile(rf"{MODELS[0]} cpu-auto: separation, ").search)
    import_module("ray")  # it brings psutil
    psutil = import_module("psutil")
    started = psutil.Process(driver.process.pid).children(recursive=True)
    driver.process.send_signal(signal.SIGINT)
    assert driver.ended("interrupted") == 2, driver.text
    assert "interrupted; the same command goes on with what is missing" in driver.text
    assert "Traceback" not in driver.text
    assert len(started) > 3
    assert psutil.wait_procs(started, timeout=60)[1] == []
    assert list(tmp_path.iterdir()) == []
    assert list(Path("/tmp").glob(f"ray-*/session_*_{driver.process.pid}")) == []
