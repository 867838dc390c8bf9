"""A Ray session: a cluster of this machine alone, closed to all others, or one that is there; gone at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
STORE = 1 << 28
"""Bytes of shared memory for what comes home, on a cluster of this machine; more goes to the disk."""


class ClusterError(RuntimeError):
    """No session can be had; the message is one line that names the option, the value and what is accepted."""


def environment(address: str | None, retries: int) -> dict[str, str]:
    """Return the variables that Ray reads when it is imported: no usage statistics, a bound on retries, and a local cluster on 127.0.0.1.

    By default Ray's servers listen on every interface, even of a cluster of one machine. The switch that keeps them on the loopback
    interface bears the name of the systems on which it is the default. A local cluster takes tasks from bearers of its token only.
    Ray's own words of a lost worker, a dozen lines in the middle of ours, are skipped: the board tells of it in one.
    """
    variables = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": str(retries), "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}
    if address is None or address.rsplit(":", 1)[0] in LOOPBACK:
        variables["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if address is None:
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return variables


@contextmanager
def session(address: str | None, parcel: Path, *, retries: int) -> Iterator[Any]:
    """Yield Ray, connected: to a cluster of its own on this machine, or to the one at `address`; every worker gets the parcel.

    Raises ClusterError where Ray is not installed, nothing answers, or it runs another version of Ray or Python.
    """
    if find_spec("ray") is None:
        raise ClusterError("Ray is not installed; accepted: pip install '.[cluster]' first")
    if address not in (None, "auto"):
        answers(str(address))
    os.environ.update(environment(address, retries))
    ray = import_module("ray")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL", "runtime_env": {"working_dir": str(parcel)}}
    # sockets have short names, so not in $TMPDIR
    own = tempfile.mkdtemp(prefix="ray-", dir="/tmp" if Path("/tmp").is_dir() else None) if address is None else None
    if own:
        # what a killed worker leaves goes with the rest
        options["runtime_env"]["env_vars"] = {"TMPDIR": own}
        options |= {"include_dashboard": False, "object_store_memory": STORE, "_temp_dir": own}
    try:
        try:
            ray.init(address=address or "local", **options)
        except Exception as error:
            raise ClusterError(f"--address {address or 'none'}: {_gist(error)}; accepted: {ACCEPTED}") from error
        yield ray
    finally:
        ray.shutdown()
        if own:
            removed(Path(own))


def removed(folder: Path, seconds: float = 10) -> None:
    """Delete a folder to which processes that are ending may still write."""
    end = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


ACCEPTED = "auto, HOST:PORT of a running Ray cluster of which this machine is a node, or none for a cluster of this machine alone"


def answers(address: str) -> None:
    """Raise ClusterError unless something listens at HOST:PORT."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"--address {address}: nothing answers there; accepted: {ACCEPTED}") from error


def _gist(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "Could not find any running Ray instance" in text:
        return "no Ray cluster runs on this machine"
    return text[:200] or type(error).__name__


def largest(ray: Any) -> dict[str, float]:
    """Return the most CPUs and the most GPUs that any one machine of the cluster has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return {kind: max((float(node.get(kind, 0)) for node in nodes), default=0.0) for kind in ("CPU", "GPU")}
