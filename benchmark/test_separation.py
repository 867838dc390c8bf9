"""Held-out separation, beyond chance and an untrained twin (present) and beyond the words alone."""

from __future__ import annotations

from typing import Any


def test_held_out_separation(measure: Any, judge: Any) -> None:
    judge(measure("separation"))
