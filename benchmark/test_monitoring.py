"""Monitoring: the read-out before an act goes with the odds of the act."""

from __future__ import annotations

from typing import Any


def test_monitoring(measure: Any, judge: Any) -> None:
    judge(measure("monitoring"))
