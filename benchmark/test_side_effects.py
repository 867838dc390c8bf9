"""Side effects: what steering costs on neutral text, beside random directions."""

from __future__ import annotations

from typing import Any


def test_side_effects(measure: Any, judge: Any) -> None:
    judge(measure("side_effects"))
