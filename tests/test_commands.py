"""Self-tests of `python -m reports`: wrong input in one line, and no torch anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports.__main__ import COMMANDS, main
from reports.store import write_run
from tests.runs import ROOT, small_record, small_run

WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder


class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
from reports.__main__ import main

sys.exit(main(sys.argv[1:]))
"""


def without_torch(*words: str) -> subprocess.CompletedProcess[str]:
    """`python -m reports WORDS` on a machine that has neither torch nor transformers."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_itself_without_torch(name: str) -> None:
    done = without_torch(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"python -m reports {name}" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "arguments are required: COMMAND"),
        (("shout",), "invalid choice: 'shout'"),
        (("show",), "arguments are required: RUN"),
        (("show", "nowhere"), "nowhere is not a run"),
    ],
)
def test_wrong_use_is_one_line_and_status_4(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words)
    except SystemExit as end:
        status = int(str(end.code))
    out, err = capsys.readouterr()
    assert (status, out) == (4, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_show_prints_the_run_a_claim_or_a_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, small_run(small_record(), small_record(case="other"), small_record(family="fear", claim="fear_not_arousal")))
    shown = {}
    for chosen in (None, "separation", "separation/other", "held_out_separation/other"):
        assert main(["show", str(tmp_path), *([chosen] if chosen else [])]) == 0
        shown[chosen] = capsys.readouterr().out
    assert "fear/natural-present" in shown[None]
    assert "### separation/natural-present" in shown["separation"]
    assert "fear" not in shown["separation"]
    assert "### separation/natural-present" not in shown["separation/other"]
    assert shown["separation/other"] == shown["held_out_separation/other"]


def test_a_claim_that_the_run_does_not_hold_is_refused_with_those_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, small_run())
    assert main(["show", str(tmp_path), "separation/nothing"]) == 4
    assert capsys.readouterr().err == "error: CLAIM separation/nothing: not in this run; accepted: separation/natural-present\n"
