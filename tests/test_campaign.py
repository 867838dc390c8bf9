"""Self-tests of the campaign of faults: what is lost or other is counted, and a fault that breaks the run is not called survived."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.campaign import Campaign, Fault, Place, report
from tests.runs import plain_record

ROWS = [plain_record(case=case) for case in ("a", "b", "c")]
OTHER = [ROWS[0], {**ROWS[1], "value": 0.9000001}, ROWS[2]]


@pytest.mark.parametrize(("after", "lost"), [(ROWS, 0), (ROWS[::-1], 0), (OTHER, 1), (ROWS[1:], 1), ([], 2)])
def test_what_stood_and_is_gone_or_other_is_lost(after: list[dict[str, Any]], lost: int) -> None:
    fault = Fault("x")
    fault.count(not lost, ROWS[:2], after, "killed")
    fault.count(True, [], after, "killed")
    assert (fault.tried, fault.stood, fault.lost, fault.survived, fault.notes) == (2, 2, lost, 1 + (not lost), ["killed"])


def undisturbed(monkeypatch: pytest.MonkeyPatch, scratch: Path, ended: list[dict[str, Any]]) -> Campaign:
    """A campaign of runs that nobody made: the first has all records, the others those that are given."""
    monkeypatch.setattr(Place, "run", lambda self, *words, **options: (0, ""))
    monkeypatch.setattr(Place, "ended", lambda self: ROWS if self.root.name == "1" else ended)
    monkeypatch.setattr(Place, "standing", lambda self: ROWS[:1])
    return Campaign(scratch)


@pytest.mark.parametrize(("ended", "survived"), [(ROWS, 1), (ROWS[::-1], 1), (OTHER, 0), (ROWS[:2], 0), ([], 0)])
def test_a_run_that_ends_otherwise_was_not_survived(
    ended: list[dict[str, Any]], survived: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = undisturbed(monkeypatch, tmp_path, ended)
    fault = Fault("x")
    found.gone_on(fault, found.place(), "killed")
    assert (fault.tried, fault.survived, fault.lost) == (1, survived, int(not ended))
    assert found.workers().survived == survived


def test_memory_that_ran_out_is_recorded_and_may_move_a_value_by_rounding_and_no_further(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def survived(*rows: dict[str, Any], told: bool = True) -> int:
        details = {"batches halved to": {"tokens of texts": 24}} if told else {}
        ended = [{**row, "details": {**row["details"], **details}} for row in rows]
        return undisturbed(monkeypatch, tmp_path, ended).scarce((64,)).survived

    assert survived(*OTHER) == 1
    assert survived(*OTHER, told=False) == 0
    assert survived(ROWS[0], {**ROWS[1], "value": 0.95}, ROWS[2]) == 0
    assert survived(ROWS[0], {**ROWS[1], "verdict": "refuted"}, ROWS[2]) == 0


def test_cut_and_flipped_files_differ_from_what_they_were(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = undisturbed(monkeypatch, tmp_path, ROWS)
    content = bytes(range(256))
    for _ in range(20):
        assert content.startswith(found.cut(content))
        assert len(found.cut(content)) < len(content)
        flipped = found.flip(content)
        assert sum((a ^ b).bit_count() for a, b in zip(content, flipped, strict=True)) == 1


def test_the_report_tells_each_fault_and_each_kind_of_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *given, **options: subprocess.CompletedProcess([], 0, stdout="0123456789ab\n"))
    text = report(undisturbed(monkeypatch, tmp_path, ROWS), [Fault("killed", 20, 19, 100, 3, ["status -9"])], [["options", "10", "4", "6"]])
    assert "| killed  |      20 |         19 |     100 |      3 | status -9 |" in text
    assert "at 0123456789ab" in text
    assert "| options |      10 |      4 |                     6 |" in text
