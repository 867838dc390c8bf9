"""Blackmail: an emotion's direction shifts the odds of using a secret as leverage."""

from __future__ import annotations

from typing import Any


def test_blackmail(measure: Any, judge: Any) -> None:
    judge(measure("blackmail"))
