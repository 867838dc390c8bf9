"""Trajectory: desperation rises, peaks and subsides over a coding session."""

from __future__ import annotations

from typing import Any


def test_trajectory(measure: Any, judge: Any) -> None:
    judge(measure("trajectory"))
