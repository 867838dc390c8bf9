"""Sycophancy and harshness: pleasant directions shift opinions towards praise, their negatives towards scorn."""

from __future__ import annotations

from typing import Any


def test_sycophancy(measure: Any, judge: Any) -> None:
    judge(measure("sycophancy"))
