"""Cosine pairs: the geometry of the vectors follows the circumplex."""

from __future__ import annotations

from typing import Any


def test_cosine_pairs(measure: Any, judge: Any) -> None:
    judge(measure("geometry"))
