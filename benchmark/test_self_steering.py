"""Self-steering: what a vector does to its own word."""

from __future__ import annotations

from typing import Any


def test_self_steering_lift(measure: Any, judge: Any) -> None:
    judge(measure("lift"))
