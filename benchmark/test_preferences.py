"""Preferences: read-outs of activities go with choosing them, and steering moves the choice."""

from __future__ import annotations

from typing import Any


def test_preferences(measure: Any, judge: Any) -> None:
    judge(measure("preferences"))
