"""Self-tests of the sandbox: what is run is stopped, bounded and cut off, and leaves nothing behind."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fixtures import sandbox
from fixtures.sandbox import ERROR, FAILED, NOT_RUN, PASSED, TIMEOUT, Outcome, run_solution

TESTS = "assert f(2) == 4"
HONEST = "def f(x):\n    return x + x\n"
SYSTEM = Path("/usr/bin/python3")


@pytest.fixture(params=["namespaces", "fallback"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of cutting a solution off; skipped where this machine permits one of them to nobody."""
    monkeypatch.setattr(sandbox, "NAMESPACES", request.param == "namespaces")
    found = run(HONEST)
    if found.outcome == NOT_RUN and SYSTEM.exists():
        # as root, the fallback needs a Python that everybody can read
        monkeypatch.setattr(sys, "_base_executable", str(SYSTEM))
        monkeypatch.setattr(sys, "base_prefix", "/usr")
        monkeypatch.setattr(sys, "base_exec_prefix", "/usr")
        found = run(HONEST)
    if found.outcome == NOT_RUN:
        permitted = (
            request.param == "namespaces" and not subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode
        )
        assert not permitted, found.reason
        pytest.skip(found.reason)
    return str(request.param)


def run(code: str, tests: str = TESTS, *, seconds: float = 5, megabytes: int = 256) -> Outcome:
    return run_solution(code, tests, seconds=seconds, megabytes=megabytes)


def told(expression: str, before: str = "") -> str:
    """What an expression gives inside: raised as an error, since that is all that comes out."""
    found = run(f"{before}\ndef f(x):\n    raise RuntimeError('<', {expression}, '>')\n")
    assert found.outcome == ERROR
    return found.reason


def test_a_solution_that_holds_passes_and_one_that_does_not_fails(way: str) -> None:
    assert run(HONEST) == Outcome(PASSED)
    assert run(HONEST, "f ( 2 ) == 4").outcome == PASSED
    assert run(HONEST, "f ( 2 ) == 7").outcome == FAILED
    assert run("def f(x: return").outcome == ERROR
    assert run("import decimal, itertools, datetime, heapq, re, csv\n" + HONEST).outcome == PASSED


def test_ending_the_process_is_not_passing(way: str) -> None:
    for code in ("import os; os._exit(0)", "raise SystemExit", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"):
        assert run(code).outcome == ERROR


def test_a_loop_is_stopped(way: str) -> None:
    assert run("while True: pass", seconds=0.5).outcome == TIMEOUT
    assert run("import time; time.sleep(60)", seconds=0.5).outcome == TIMEOUT


def test_memory_is_bounded(way: str) -> None:
    assert run("x = bytearray(60 << 20)\n" + HONEST, megabytes=256).outcome == PASSED
    found = run("x = bytearray(60 << 20)\n" + HONEST, megabytes=64)
    assert (found.outcome, found.reason) == (ERROR, "MemoryError:")


def test_the_environment_is_empty(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", "walnut")
    reason = told("sorted(os.environ)", "import os")
    assert "SECRET" not in reason
    assert "HOME" not in reason


def test_homes_temporary_folders_and_the_project_cannot_be_read(way: str, tmp_path: Path) -> None:
    (tmp_path / "walnut").write_text("walnut")
    for path in (tmp_path / "walnut", Path(__file__), Path.home() / ".profile"):
        assert run(f"open({str(path)!r})\n" + HONEST).outcome == ERROR


def test_files_outside_cannot_be_written_and_nothing_is_left_behind(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # a folder that everybody may write in, and that is not hidden: read-only mounts and refusals are all that is left
    hidden = [path for path in sandbox._hidden() if not tempfile.gettempdir().startswith(path)]
    monkeypatch.setattr(sandbox, "_hidden", lambda: hidden)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "kept").write_text("x")
        (folder / "kept").chmod(0o666)
        tried = [
            f"open({str(folder / 'left-behind')!r}, 'w')",
            f"open({str(folder / 'kept')!r}, 'w')",
            f"os.remove({str(folder / 'kept')!r})",
        ]
        calls = "".join(f"try:\n    {call}\n    done.append({place})\nexcept OSError:\n    pass\n" for place, call in enumerate(tried))
        assert "RuntimeError: ('<', [], '>')" in told("done", "import os\ndone = []\n" + calls)
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [("kept", "x")]


def test_the_folder_of_a_run_is_deleted(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a place of its own: the common one has folders of tests beside this one
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run("open('mine', 'w').write('x')\n" + HONEST).outcome != NOT_RUN
    assert [p for p in tmp_path.iterdir() if p.name.startswith("solution-")] == []


def test_other_processes_are_not_shown(way: str) -> None:
    assert "RuntimeError: ('<', [], '>')" in told("shown()", SHOWN)


SHOWN = """
import os
def shown():
    try:
        return os.listdir('/proc')
    except OSError:
        return []
"""


def test_files_are_bounded(way: str) -> None:
    assert run(f"with open('x', 'wb') as file:\n    file.write(bytes({sandbox.FILE + 1}))\n" + HONEST).outcome == ERROR


def test_a_socket_cannot_reach_a_server_on_this_machine(way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        assert run(f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)\n" + HONEST).outcome == ERROR
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_process_and_no_thread_can_be_started(way: str) -> None:
    assert "fork" in told(
        "tried()", "import os\ndef tried():\n    try:\n        os.fork()\n    except OSError:\n        return 'no fork'\n    return 'ok'"
    )
    assert run("import subprocess; subprocess.run(['true'])\n" + HONEST).outcome == ERROR
    assert run("import threading; threading.Thread(target=print).start()\n" + HONEST).outcome == ERROR


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
def test_what_a_solution_started_is_killed_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the limit on processes: a child in another session goes with the namespace, one in the group always."""
    unbound = tmp_path / "unbound.py"
    text = sandbox.CHILD.read_text("utf-8")
    assert "resource.RLIMIT_NPROC: 1," in text
    unbound.write_text(text.replace("resource.RLIMIT_NPROC: 1,", ""))
    monkeypatch.setattr(sandbox, "CHILD", unbound)
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(31.4159)\ntime.sleep(31.4159)\n"
    before = _processes()
    found = run(code, seconds=1)
    if found.outcome != TIMEOUT:
        pytest.skip("no namespaces here: forks are refused anyway")
    # the kernel ends a namespace's processes after its first one, not with it; by themselves they would sleep far longer than this waits
    deadline = time.monotonic() + 15
    while (left := [p for p in _processes() - before if str(unbound).encode() in _command(p)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _processes() -> set[str]:
    return {entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def _command(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_elsewhere_nothing_is_run_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert run(HONEST) == Outcome(NOT_RUN, "solutions are run on Linux only, and this is Darwin")


def test_limits_of_nothing_are_refused() -> None:
    for seconds, megabytes in ((0, 256), (1, 0)):
        with pytest.raises(ValueError, match="accepted are"):
            run(HONEST, seconds=seconds, megabytes=megabytes)
